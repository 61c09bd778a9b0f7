create table aos_meta.setting (
    name text not null,
    value jsonb not null,
    description text,
    is_builtin boolean not null default false,
    constraint setting_pkey primary key (name),
    constraint max_model_calls_is_a_positive_whole_number
        check (name <> 'max_model_calls' or value::text ~ '^[1-9]\d{0,5}$'),
    constraint history_turns_is_a_whole_number_or_null
        check (name <> 'history_turns' or value::text ~ '^(null|\d{1,6})$'),
    constraint approval_expires_after_is_a_positive_interval
        check (case when name = 'approval_expires_after' then coalesce((value #>> '{}')::interval > interval '0', false) else true end),
    constraint embedding_model_is_a_name_or_null
        check (name <> 'embedding_model' or value::text ~ '^(null|".+")$'),
    constraint function_deadline_is_at_most_five_minutes
        check (case when name = 'function_deadline_seconds' then jsonb_typeof(value) = 'number' and value::text::numeric between 0.001 and 300 else true end),
    constraint http_timeout_is_between_1_and_300_seconds
        check (name <> 'http_timeout_seconds' or value::text ~ '^([1-9]\d?|[12]\d\d|300)$'),
    constraint http_limits_are_whole_numbers_above_0
        check (name not in ('http_max_request_bytes', 'http_max_response_bytes') or value::text ~ '^[1-9]\d{0,7}$'),
    constraint http_max_body_characters_is_between_1_and_99999
        check (name <> 'http_max_body_characters' or value::text ~ '^[1-9]\d{0,4}$'),
    constraint http_max_redirects_is_at_most_10
        check (name <> 'http_max_redirects' or value::text ~ '^(\d|10)$'),
    constraint sql_query_deadline_is_at_most_a_minute
        check (case when name = 'sql_query_deadline_seconds' then jsonb_typeof(value) = 'number' and value::text::numeric between 0.001 and 60 else true end),
    constraint sql_query_caps_are_whole_numbers_within_reason
        check (case name when 'sql_query_max_rows' then value::text ~ '^[1-9]\d{0,3}$' when 'sql_query_max_bytes' then value::text ~ '^[1-9]\d{2,6}$'
            when 'sql_query_memory_megabytes' then value::text ~ '^(6[4-9]|[7-9]\d|[1-9]\d{2}|[1-3]\d{3})$'
            when 'sql_query_temporary_megabytes' then value::text ~ '^\d{1,4}$' when 'sql_query_max_cost' then value::text ~ '^[1-9]\d{0,11}$' else true end),
    constraint queue_max_attempts_is_between_1_and_1000
        check (name <> 'queue_max_attempts' or value::text ~ '^([1-9]\d{0,2}|1000)$'),
    constraint queue_retry_seconds_is_between_0_and_3600
        check (case when name = 'queue_retry_seconds' then jsonb_typeof(value) = 'number' and value::text::numeric between 0 and 3600 else true end),
    constraint queue_keeps_for_a_positive_interval
        check (case when name in ('queue_keep_dedup_keys', 'queue_keep_dead_letters')
                    then coalesce((value #>> '{}')::interval > interval '0', false) else true end)
);
comment on table aos_meta.setting is 'Settings of the installation, edited by the operator with plain SQL.';
comment on column aos_meta.setting.value is 'What the setting says, as JSON: a number, a string in quotes, true, false or null.';
comment on column aos_meta.setting.is_builtin is 'True while the row is as CREATE EXTENSION made it; pg_dump leaves such rows out.';

create table aos_meta.provider (
    provider text not null,
    driver text not null,
    base_url text not null,
    secret_name text,
    api_key_env text,
    carrier text not null default 'wire',
    options jsonb not null default '{}',
    requests_per_minute integer,
    tokens_per_minute integer,
    is_builtin boolean not null default false,
    constraint provider_pkey primary key (provider),
    constraint provider_name_is_not_empty check (provider <> ''),
    constraint provider_driver_is_known check (driver in ('openai_chat', 'openai_responses', 'anthropic', 'gemini', 'ollama')),
    constraint provider_carrier_is_known check (carrier in ('wire', 'sdk')),
    constraint provider_base_url_is_http check (base_url ~ '^https?://[^/\s]+(/[^\s]*[^/\s])?$'),
    constraint provider_options_are_an_object check (jsonb_typeof(options) = 'object'),
    constraint provider_limits_are_positive check (requests_per_minute > 0 and tokens_per_minute > 0),
    constraint provider_api_key_env_is_a_variable_name check (api_key_env ~ '^[A-Za-z_][A-Za-z0-9_]*$')
);
comment on table aos_meta.provider is 'A service that models are called at: one row a service, edited by the operator with plain SQL.';
comment on column aos_meta.provider.driver is 'The wire that the service speaks: openai_chat, openai_responses, anthropic, gemini or ollama.';
comment on column aos_meta.provider.base_url is 'Where it is, without a slash at the end, for example https://api.openai.com/v1.';
comment on column aos_meta.provider.secret_name is 'Name of the stored secret that holds the key.';
comment on column aos_meta.provider.api_key_env is 'Environment variable of the database server that holds the key, when no secret does.';
comment on column aos_meta.provider.carrier is 'wire: the kernel''s own lean client. sdk: the vendor''s official Python package.';
comment on column aos_meta.provider.options is 'Options of the driver, see docs/providers.md.';
comment on column aos_meta.provider.requests_per_minute is 'Most model calls a minute of all turns that workers drive, shared fairly by the tenants; null: no limit.';
comment on column aos_meta.provider.tokens_per_minute is 'Most tokens, input and output, a minute of all turns that workers drive; null: no limit.';
comment on column aos_meta.provider.is_builtin is 'True while the row is as CREATE EXTENSION made it; pg_dump leaves such rows out.';

create table aos_meta.llm_model_registry (
    model_id uuid not null default gen_random_uuid(),
    model_name text not null,
    provider text not null,
    wire_name text,
    driver text,
    context_window integer not null,
    max_output_tokens integer,
    capabilities jsonb not null default '{"tools": true, "temperature": true}',
    input_price numeric,
    cached_input_price numeric,
    cache_write_price numeric,
    output_price numeric,
    options jsonb not null default '{}',
    is_active boolean not null default true,
    is_builtin boolean not null default false,
    constraint llm_model_registry_pkey primary key (model_id),
    constraint model_name_is_unique unique (model_name),
    constraint model_name_is_not_empty check (model_name <> ''),
    constraint model_names_a_provider foreign key (provider) references aos_meta.provider (provider),
    constraint model_driver_is_known check (driver in ('openai_chat', 'openai_responses', 'anthropic', 'gemini', 'ollama')),
    constraint model_context_window_is_positive check (context_window > 0),
    constraint model_max_output_tokens_is_positive check (max_output_tokens > 0),
    constraint model_prices_are_not_negative check (input_price >= 0 and cached_input_price >= 0 and cache_write_price >= 0 and output_price >= 0),
    constraint model_capabilities_are_an_object check (jsonb_typeof(capabilities) = 'object'),
    constraint model_options_are_an_object check (jsonb_typeof(options) = 'object')
);
create index llm_model_registry_provider on aos_meta.llm_model_registry (provider);
comment on table aos_meta.llm_model_registry is 'The models that personas can name.';
comment on column aos_meta.llm_model_registry.model_name is 'Name by which personas find it, unique in the registry.';
comment on column aos_meta.llm_model_registry.wire_name is 'The vendor''s name of the model, when it differs from model_name.';
comment on column aos_meta.llm_model_registry.driver is 'Overrides the provider''s driver, for example openai_responses for one model of OpenAI.';
comment on column aos_meta.llm_model_registry.context_window is 'Tokens of input and output together that the model takes.';
comment on column aos_meta.llm_model_registry.max_output_tokens is 'Most tokens that one reply may have.';
comment on column aos_meta.llm_model_registry.capabilities is 'What the model can do, for example {"tools": true, "reasoning": false, "temperature": true}.';
comment on column aos_meta.llm_model_registry.input_price is 'US dollars for a million tokens of input.';
comment on column aos_meta.llm_model_registry.cached_input_price is 'US dollars for a million tokens of input read from the vendor''s cache; null: as input_price.';
comment on column aos_meta.llm_model_registry.cache_write_price is 'US dollars for a million tokens of input written to the vendor''s cache; null: as input_price.';
comment on column aos_meta.llm_model_registry.output_price is 'US dollars for a million tokens of output.';
comment on column aos_meta.llm_model_registry.options is 'Options of the driver for this model; they win over the provider''s.';
comment on column aos_meta.llm_model_registry.is_active is 'False: no new turn uses it.';
comment on column aos_meta.llm_model_registry.is_builtin is 'True while the row is as CREATE EXTENSION made it; pg_dump leaves such rows out.';

insert into aos_meta.setting (name, value, description, is_builtin) values
    ('max_model_calls', '10', 'Most model calls of one turn, where the agent does not say otherwise.', true),
    ('history_turns', '8', 'How many earlier turns a model is shown, where the persona''s params do not say otherwise; null: all that fit its context window.', true),
    ('approval_expires_after', '"7 days"', 'How long a person may take to approve a tool call.', true),
    ('embedding_model', 'null', 'Name of the registered model that aos_meta.embed uses; null: session memory is searched by words only.', true),
    ('function_deadline_seconds', '120', 'Most time for a call of a skill that is a SQL function.', true),
    ('http_timeout_seconds', '20', 'Most time for a call of an http skill, where its endpoint does not say otherwise.', true),
    ('http_max_request_bytes', '262144', 'Longest body that an http skill sends.', true),
    ('http_max_response_bytes', '1048576', 'Longest body that an http skill reads, where its endpoint does not say otherwise; a longer one is refused.', true),
    ('http_max_body_characters', '50000', 'How much of the answer to an http skill a model is shown.', true),
    ('http_max_redirects', '0', 'How many redirects an http skill follows, where its endpoint does not say otherwise.', true),
    ('sql_query_deadline_seconds', '2', 'Most time for a query of the skill sql_query.', true),
    ('sql_query_max_rows', '100', 'Most rows that sql_query returns.', true),
    ('sql_query_max_bytes', '65536', 'Most bytes of rows that sql_query returns.', true),
    ('sql_query_memory_megabytes', '64', 'Most memory that a query of sql_query may add to its session.', true),
    ('sql_query_temporary_megabytes', '64', 'Most temporary files that a query of sql_query may write.', true),
    ('sql_query_max_cost', '1000000', 'Highest cost, as the planner estimates it, of a query that sql_query runs.', true),
    ('queue_max_attempts', '5', 'How many times in a row a worker may fail to bring a queued turn further before it becomes a dead letter.', true),
    ('queue_retry_seconds', '5', 'How long a queued turn waits after its first failure; twice as long after each further one, at most an hour.', true),
    ('queue_keep_dedup_keys', '"7 days"', 'How long aos_agent.submit knows a dedup_key.', true),
    ('queue_keep_dead_letters', '"30 days"', 'How long dead letters stay in the queue.', true);

select pg_catalog.pg_extension_config_dump('aos_meta.setting', 'where not is_builtin');
select pg_catalog.pg_extension_config_dump('aos_meta.provider', 'where not is_builtin');
select pg_catalog.pg_extension_config_dump('aos_meta.llm_model_registry', 'where not is_builtin');
