create table aos_skills.skill (
    skill_id uuid not null default gen_random_uuid(),
    tenant_id uuid,
    name text not null,
    description text not null,
    parameters jsonb not null default '{"type": "object", "properties": {}, "additionalProperties": false}',
    implementation text not null,
    function_name text,
    risk text not null default 'low',
    approval text not null default 'auto',
    approver_role text,
    needs_role boolean not null default false,
    is_idempotent boolean not null default false,
    is_active boolean not null default true,
    is_builtin boolean not null default false,
    created_at timestamptz not null default now(),
    constraint skill_pkey primary key (skill_id),
    constraint skill_belongs_to_a_tenant foreign key (tenant_id) references aos_auth.tenant (tenant_id),
    constraint skill_name_fits_every_provider check (name ~ '^[a-zA-Z_][a-zA-Z0-9_-]{0,63}$'),
    constraint skill_parameters_are_a_schema_of_an_object check (parameters @> '{"type": "object"}'),
    constraint skill_implementation_is_known check (implementation in ('sql_function', 'sql_query', 'http', 'external')),
    constraint sql_function_skills_name_their_function check ((implementation = 'sql_function') = (function_name is not null)),
    constraint only_external_skills_say_here_that_they_are_idempotent check (not is_idempotent or implementation = 'external'),
    constraint skill_risk_is_known check (risk in ('low', 'medium', 'high')),
    constraint skill_approval_is_known check (approval in ('auto', 'ask', 'never')),
    constraint skill_approver_has_a_role foreign key (approver_role) references aos_auth.role (role_name)
);
create unique index skill_name_is_unique_in_its_tenant on aos_skills.skill (tenant_id, name) where tenant_id is not null;
create unique index shared_skill_name_is_unique on aos_skills.skill (name) where tenant_id is null;
comment on table aos_skills.skill is 'A tool that a model may call.';
comment on column aos_skills.skill.tenant_id is 'The tenant whose skill it is; null: every tenant''s.';
comment on column aos_skills.skill.description is 'What the model reads to decide whether to call it.';
comment on column aos_skills.skill.parameters is 'JSON Schema of the arguments, of type object.';
comment on column aos_skills.skill.implementation is 'sql_function: a SQL function, run with the rights of the agent''s role. sql_query: the model''s own SQL, read-only. http: a request to a service. external: an outside worker runs it.';
comment on column aos_skills.skill.function_name is 'The SQL function with its argument types, as regprocedure prints it.';
comment on column aos_skills.skill.risk is 'low, medium or high: what aos_skills.risk_policy decides by.';
comment on column aos_skills.skill.approval is 'auto: runs at once. ask: waits for a person''s yes. never: is refused.';
comment on column aos_skills.skill.approver_role is 'Role that whoever approves a call must have by aos_auth.role_grant; null: whoever may approve at all.';
comment on column aos_skills.skill.needs_role is 'True: only in conversations of a principal who has, by aos_auth.role_grant, a role that aos_skills.role_skill allows the skill to.';
comment on column aos_skills.skill.is_idempotent is 'Of an external skill: true: a call whose worker was lost is made once more, under the same key; false: a person is asked. Of an http skill http_endpoint says that; what the others do in the database is undone with their worker.';
comment on column aos_skills.skill.is_builtin is 'True while the row is as CREATE EXTENSION made it; pg_dump leaves such rows out.';

create table aos_skills.role_skill (
    role_name text not null,
    skill_id uuid not null,
    approval text,
    limits jsonb,
    is_builtin boolean not null default false,
    constraint role_skill_pkey primary key (role_name, skill_id),
    constraint role_skill_names_a_role foreign key (role_name) references aos_auth.role (role_name),
    constraint role_skill_names_a_skill foreign key (skill_id) references aos_skills.skill (skill_id)
        on delete cascade on update cascade,
    constraint role_skill_approval_is_known check (approval in ('auto', 'ask', 'never')),
    constraint role_skill_limits_are_a_schema check (jsonb_typeof(limits) = 'object')
);
create index role_skill_skill on aos_skills.role_skill (skill_id);
comment on table aos_skills.role_skill is 'Which role may use which skill: what an agent of the role has that was given no skills of its own, and what a principal of the role may use of the skills that need a role.';
comment on column aos_skills.role_skill.approval is 'Overrides the skill''s approval; null: as the skill says.';
comment on column aos_skills.role_skill.limits is 'JSON Schema that the arguments must fit besides the skill''s own, for example {"properties": {"amount": {"maximum": 100}}}.';

create table aos_skills.risk_policy (
    role_name text not null,
    risk text not null,
    approval text not null,
    constraint risk_policy_pkey primary key (role_name, risk),
    constraint risk_policy_is_of_a_role foreign key (role_name) references aos_auth.role (role_name) on delete cascade,
    constraint risk_policy_risk_is_known check (risk in ('low', 'medium', 'high')),
    constraint risk_policy_approval_is_known check (approval in ('auto', 'ask', 'never'))
);
comment on table aos_skills.risk_policy is 'What agents of a role do with skills of a risk: auto, ask or never. It wins over the skill''s own approval; what role_skill or agent_skill says of the one skill wins over it.';

select pg_catalog.pg_extension_config_dump('aos_skills.skill', 'where not is_builtin');
select pg_catalog.pg_extension_config_dump('aos_skills.role_skill', 'where not is_builtin');
select pg_catalog.pg_extension_config_dump('aos_skills.risk_policy', '');
