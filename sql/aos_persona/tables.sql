create table aos_persona.persona (
    persona_id uuid not null default gen_random_uuid(),
    tenant_id uuid not null,
    name text not null,
    system_prompt text not null,
    model_id uuid not null,
    fallback_model_id uuid,
    traits jsonb not null default '{}',
    rules text[] not null default '{}',
    params jsonb not null default '{}',
    version_no integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint persona_pkey primary key (persona_id, tenant_id),
    constraint persona_name_is_unique_in_its_tenant unique (tenant_id, name),
    constraint persona_name_is_not_empty check (name <> ''),
    constraint persona_belongs_to_a_tenant foreign key (tenant_id) references aos_auth.tenant (tenant_id),
    constraint persona_names_a_model foreign key (model_id) references aos_meta.llm_model_registry (model_id),
    constraint persona_names_a_fallback_model foreign key (fallback_model_id) references aos_meta.llm_model_registry (model_id),
    constraint persona_traits_are_an_object check (jsonb_typeof(traits) = 'object'),
    constraint persona_params_are_an_object check (jsonb_typeof(params) = 'object')
);
comment on table aos_persona.persona is 'Who an agent is: prompt, traits, rules and model. An update makes a new version; turns keep the version they started with.';
comment on column aos_persona.persona.traits is 'Traits of character as a JSON object, for example {"tone": "friendly"}; added to the prompt.';
comment on column aos_persona.persona.rules is 'Rules, one sentence each; added to the prompt as a list.';
comment on column aos_persona.persona.params is 'Parameters of the model call: temperature, top_p, max_output_tokens, stop, seed, reasoning_effort, response_schema, parallel_tool_calls; and history_turns.';
comment on column aos_persona.persona.fallback_model_id is 'The model that a turn goes on with when the first one keeps failing.';
comment on column aos_persona.persona.version_no is 'Number of the present version, counted by the database.';

create table aos_persona.persona_version (
    persona_version_id uuid not null default gen_random_uuid(),
    tenant_id uuid not null,
    persona_id uuid not null,
    version_no integer not null,
    system_prompt text not null,
    model_id uuid not null,
    fallback_model_id uuid,
    params jsonb not null,
    created_at timestamptz not null default now(),
    constraint persona_version_pkey primary key (persona_version_id, tenant_id),
    constraint persona_version_number_is_unique unique (persona_id, version_no, tenant_id),
    constraint persona_version_belongs_to_a_persona foreign key (persona_id, tenant_id)
        references aos_persona.persona (persona_id, tenant_id) on delete cascade deferrable initially deferred,
    constraint persona_version_names_a_model foreign key (model_id)
        references aos_meta.llm_model_registry (model_id) deferrable initially deferred,
    constraint persona_version_names_a_fallback_model foreign key (fallback_model_id)
        references aos_meta.llm_model_registry (model_id) deferrable initially deferred
);
comment on table aos_persona.persona_version is 'A persona as it was at one time, never changed. Each turn is pinned to one.';
comment on column aos_persona.persona_version.system_prompt is 'The whole prompt: the persona''s system_prompt with its traits and rules.';
comment on column aos_persona.persona_version.params is 'The persona''s params as they were.';

select pg_catalog.pg_extension_config_dump('aos_persona.persona', '');
select pg_catalog.pg_extension_config_dump('aos_persona.persona_version', '');
