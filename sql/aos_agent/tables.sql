create table aos_agent.agent (
    agent_id uuid not null default gen_random_uuid(),
    tenant_id uuid not null,
    name text not null,
    persona_id uuid not null,
    role_name text not null default 'agent',
    db_role name,
    runner text not null default 'auto',
    max_model_calls integer,
    max_turn_tokens integer,
    max_concurrent_turns integer,
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    constraint agent_pkey primary key (agent_id, tenant_id),
    constraint agent_name_is_unique_in_its_tenant unique (tenant_id, name),
    constraint agent_name_is_not_empty check (name <> ''),
    constraint agent_belongs_to_a_tenant foreign key (tenant_id) references aos_auth.tenant (tenant_id),
    constraint agent_has_a_persona foreign key (persona_id, tenant_id) references aos_persona.persona (persona_id, tenant_id),
    constraint agent_has_a_role foreign key (role_name) references aos_auth.role (role_name),
    constraint agent_has_a_registered_db_role foreign key (db_role, tenant_id) references aos_auth.agent_role (db_role, tenant_id),
    constraint agent_runner_is_known check (runner in ('auto', 'database', 'external')),
    constraint agent_limits_are_positive check (max_model_calls > 0 and max_turn_tokens > 0 and max_concurrent_turns > 0)
);
create index agent_persona on aos_agent.agent (persona_id);
create index agent_limited on aos_agent.agent (tenant_id) where max_concurrent_turns is not null;
comment on table aos_agent.agent is 'An agent: a persona at work, with its skills and limits.';
comment on column aos_agent.agent.role_name is 'The role whose default skills it has when it was given none of its own.';
comment on column aos_agent.agent.db_role is 'The database role that its tools run as, registered by aos_auth.register_agent_role; null: pgagentos_agent.';
comment on column aos_agent.agent.runner is 'Who calls the model. database: run_turn itself. external: an outside worker. auto: the database where it can reach the model, else a worker.';
comment on column aos_agent.agent.max_model_calls is 'Most model calls of one turn; null: the setting max_model_calls.';
comment on column aos_agent.agent.max_turn_tokens is 'Most tokens, input and output, of one turn; null: no limit.';
comment on column aos_agent.agent.max_concurrent_turns is 'Most turns of this agent that workers drive at the same time; null: no limit.';
comment on column aos_agent.agent.is_active is 'False: no new turn starts.';

create table aos_agent.agent_skill (
    agent_id uuid not null,
    tenant_id uuid not null,
    skill_id uuid not null,
    approval text,
    limits jsonb,
    constraint agent_skill_pkey primary key (agent_id, tenant_id, skill_id),
    constraint agent_skill_names_an_agent foreign key (agent_id, tenant_id)
        references aos_agent.agent (agent_id, tenant_id) on delete cascade,
    constraint agent_skill_names_a_skill foreign key (skill_id) references aos_skills.skill (skill_id)
        on delete cascade on update cascade,
    constraint agent_skill_approval_is_known check (approval in ('auto', 'ask', 'never')),
    constraint agent_skill_limits_are_a_schema check (jsonb_typeof(limits) = 'object')
);
create index agent_skill_skill on aos_agent.agent_skill (skill_id);
comment on table aos_agent.agent_skill is 'The skills of an agent. An agent without a row here has the default skills of its role.';
comment on column aos_agent.agent_skill.approval is 'Overrides the skill''s approval for this agent; null: as the skill says.';
comment on column aos_agent.agent_skill.limits is 'JSON Schema that the arguments must fit besides the skill''s own.';

create table aos_agent.conversation (
    conversation_id uuid not null default aos_core.new_id(),
    tenant_id uuid not null,
    agent_id uuid not null,
    principal_id uuid,
    title text,
    created_at timestamptz not null default now(),
    constraint conversation_pkey primary key (conversation_id, tenant_id),
    -- Deferred, as every reference from a turn's rows to rows that turns share: a turn that opens its own
    -- conversation must not keep the agent's row locked while a model thinks.
    constraint conversation_has_an_agent foreign key (agent_id, tenant_id)
        references aos_agent.agent (agent_id, tenant_id) deferrable initially deferred,
    constraint conversation_has_a_principal foreign key (principal_id, tenant_id)
        references aos_auth.principal (principal_id, tenant_id) deferrable initially deferred
);
create index conversation_agent on aos_agent.conversation (agent_id);
comment on table aos_agent.conversation is 'A thread of messages with one agent. It runs one turn at a time.';
comment on column aos_agent.conversation.principal_id is 'Who talks with the agent: the principal who opened the conversation, where it is known.';

create table aos_agent.message (
    message_id uuid not null default aos_core.new_id(),
    tenant_id uuid not null,
    conversation_id uuid not null,
    run_id uuid,
    message_no bigint generated always as identity,
    created_at timestamptz not null default now(),
    content text not null,
    constraint message_pkey primary key (message_id, tenant_id),
    constraint message_belongs_to_a_conversation foreign key (conversation_id, tenant_id)
        references aos_agent.conversation (conversation_id, tenant_id) on delete cascade,
    -- Deferred: a lock on the turn's row before its update would make every turn a transaction of several lockers.
    constraint message_belongs_to_a_turn foreign key (run_id, tenant_id)
        references aos_core.run (run_id, tenant_id) deferrable initially deferred,
    constraint message_is_not_empty check (content <> '')
);
create index message_conversation on aos_agent.message (conversation_id, run_id, message_no);
-- For the foreign key alone: a turn is deleted with its conversation. Both ids and rows are in the order of time, so an
-- index of ranges finds the one page, and a turn writes nothing into it.
create index message_run on aos_agent.message using brin (run_id) with (pages_per_range = 32, autosummarize = on);
comment on table aos_agent.message is 'What users said. The agent''s side of a conversation is in aos_core.step; aos_agent.transcript shows both.';
comment on column aos_agent.message.run_id is 'The turn that answers it; null: the next turn will.';
comment on column aos_agent.message.message_no is 'Order of the messages.';

alter table aos_core.run add constraint run_belongs_to_a_conversation foreign key (conversation_id, tenant_id)
    references aos_agent.conversation (conversation_id, tenant_id) on delete cascade;
alter table aos_core.session_memory add constraint session_memory_belongs_to_a_conversation foreign key (conversation_id, tenant_id)
    references aos_agent.conversation (conversation_id, tenant_id) on delete cascade;

select pg_catalog.pg_extension_config_dump('aos_agent.agent', '');
select pg_catalog.pg_extension_config_dump('aos_agent.agent_skill', '');
select pg_catalog.pg_extension_config_dump('aos_agent.conversation', '');
select pg_catalog.pg_extension_config_dump('aos_agent.message', '');
select pg_catalog.pg_extension_config_dump('aos_agent.message_message_no_seq', '');
