create table aos_skills.skill (
    skill_id uuid not null default gen_random_uuid(),
    tenant_id uuid,
    name text not null,
    description text not null,
    parameters jsonb not null default '{"type": "object", "properties": {}, "additionalProperties": false}',
    implementation text not null,
    function_name text,
    approval text not null default 'auto',
    is_active boolean not null default true,
    is_builtin boolean not null default false,
    created_at timestamptz not null default now(),
    constraint skill_pkey primary key (skill_id),
    constraint skill_belongs_to_a_tenant foreign key (tenant_id) references aos_auth.tenant (tenant_id),
    constraint skill_name_fits_every_provider check (name ~ '^[a-zA-Z_][a-zA-Z0-9_-]{0,63}$'),
    constraint skill_parameters_are_a_schema_of_an_object check (parameters @> '{"type": "object"}'),
    constraint skill_implementation_is_known check (implementation in ('sql_function', 'external')),
    constraint sql_function_skills_name_their_function check ((implementation = 'sql_function') = (function_name is not null)),
    constraint skill_approval_is_known check (approval in ('auto', 'ask', 'never'))
);
create unique index skill_name_is_unique_in_its_tenant on aos_skills.skill (tenant_id, name) where tenant_id is not null;
create unique index shared_skill_name_is_unique on aos_skills.skill (name) where tenant_id is null;
comment on table aos_skills.skill is 'A tool that a model may call.';
comment on column aos_skills.skill.tenant_id is 'The tenant whose skill it is; null: every tenant''s.';
comment on column aos_skills.skill.description is 'What the model reads to decide whether to call it.';
comment on column aos_skills.skill.parameters is 'JSON Schema of the arguments, of type object.';
comment on column aos_skills.skill.implementation is 'sql_function: runs inside the database. external: an outside worker runs it.';
comment on column aos_skills.skill.function_name is 'The SQL function with its argument types, as regprocedure prints it.';
comment on column aos_skills.skill.approval is 'auto: runs at once. ask: waits for a person''s yes. never: is refused.';
comment on column aos_skills.skill.is_builtin is 'True while the row is as CREATE EXTENSION made it; pg_dump leaves such rows out.';

create table aos_skills.role_skill (
    role_name text not null,
    skill_id uuid not null,
    approval text,
    is_builtin boolean not null default false,
    constraint role_skill_pkey primary key (role_name, skill_id),
    constraint role_skill_names_a_role foreign key (role_name) references aos_auth.role (role_name),
    constraint role_skill_names_a_skill foreign key (skill_id) references aos_skills.skill (skill_id)
        on delete cascade on update cascade,
    constraint role_skill_approval_is_known check (approval in ('auto', 'ask', 'never'))
);
create index role_skill_skill on aos_skills.role_skill (skill_id);
comment on table aos_skills.role_skill is 'The default skills of a role: what an agent has that was given no skills of its own.';
comment on column aos_skills.role_skill.approval is 'Overrides the skill''s approval; null: as the skill says.';

select pg_catalog.pg_extension_config_dump('aos_skills.skill', 'where not is_builtin');
select pg_catalog.pg_extension_config_dump('aos_skills.role_skill', 'where not is_builtin');
