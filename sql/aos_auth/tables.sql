create table aos_auth.tenant (
    tenant_id uuid not null default gen_random_uuid(),
    name text not null,
    display_name text,
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    keep_conversations interval,
    max_concurrent_turns integer,
    requests_per_minute integer,
    tokens_per_minute integer,
    constraint tenant_pkey primary key (tenant_id),
    constraint tenant_name_is_unique unique (name),
    constraint tenant_name_is_not_empty check (name <> ''),
    constraint tenant_id_is_not_the_one_that_stands_for_all check (tenant_id <> '00000000-0000-0000-0000-000000000000'),
    constraint tenant_keeps_conversations_for_some_time check (keep_conversations > interval '0'),
    constraint tenant_limits_are_positive check (max_concurrent_turns > 0 and requests_per_minute > 0 and tokens_per_minute > 0)
);
comment on table aos_auth.tenant is 'An organisation. Every other row of pgAgentOS that belongs to a customer carries its tenant_id.';
comment on column aos_auth.tenant.name is 'Short unique name, for example tech_corp.';
comment on column aos_auth.tenant.display_name is 'Name shown to people.';
comment on column aos_auth.tenant.is_active is 'False: no turn of this tenant starts, its tickets are refused, its logins see nothing.';
comment on column aos_auth.tenant.keep_conversations is 'Conversations in which nothing happened for so long are deleted by aos_agent.apply_retention; null: never.';
comment on column aos_auth.tenant.max_concurrent_turns is 'Most turns of this tenant that workers drive at the same time; null: no limit.';
comment on column aos_auth.tenant.requests_per_minute is 'Most model calls a minute of its turns that workers drive; null: no limit.';
comment on column aos_auth.tenant.tokens_per_minute is 'Most tokens, input and output, a minute of its turns that workers drive; null: no limit.';

create table aos_auth.role (
    role_name text not null,
    description text,
    is_builtin boolean not null default false,
    constraint role_pkey primary key (role_name),
    constraint role_name_is_not_empty check (role_name <> '')
);
comment on table aos_auth.role is 'A named set of rights inside pgAgentOS, given to principals by role_grant and to agents by agent.role_name. Kept by the operator.';
comment on column aos_auth.role.is_builtin is 'True for rows that CREATE EXTENSION made; pg_dump leaves them out.';

create table aos_auth.principal (
    principal_id uuid not null default gen_random_uuid(),
    tenant_id uuid not null,
    principal_type text not null default 'user',
    display_name text,
    db_role name,
    external_id text,
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    constraint principal_pkey primary key (principal_id, tenant_id),
    constraint principal_belongs_to_a_tenant foreign key (tenant_id) references aos_auth.tenant (tenant_id),
    constraint principal_type_is_known check (principal_type in ('user', 'service', 'agent')),
    constraint principal_external_id_is_unique_in_its_tenant unique (tenant_id, external_id)
);
-- Over all tenants: a login is known as one principal. Only operators write the column, so the error tells nobody of others.
create unique index principal_db_role_is_unique on aos_auth.principal (db_role) where db_role is not null;
comment on table aos_auth.principal is 'A person, a program or an agent that acts inside one tenant.';
comment on column aos_auth.principal.principal_type is 'user, service or agent.';
comment on column aos_auth.principal.db_role is 'The database role that this principal logs in with (session_user), if it has one of its own.';
comment on column aos_auth.principal.external_id is 'The application''s own key for this principal.';

create table aos_auth.role_grant (
    principal_id uuid not null,
    tenant_id uuid not null,
    role_name text not null,
    granted_at timestamptz not null default now(),
    expires_at timestamptz,
    constraint role_grant_pkey primary key (principal_id, tenant_id, role_name),
    constraint role_grant_names_a_principal foreign key (principal_id, tenant_id)
        references aos_auth.principal (principal_id, tenant_id) on delete cascade,
    constraint role_grant_names_a_role foreign key (role_name) references aos_auth.role (role_name),
    constraint role_grant_expires_after_it_was_granted check (expires_at > granted_at)
);
comment on table aos_auth.role_grant is 'Which principal has which role in its tenant, and until when.';

create table aos_auth.agent_role (
    db_role name not null,
    tenant_id uuid not null,
    registered_at timestamptz not null default now(),
    constraint agent_role_pkey primary key (db_role, tenant_id),
    constraint agent_role_belongs_to_a_tenant foreign key (tenant_id) references aos_auth.tenant (tenant_id) on delete cascade
);
comment on table aos_auth.agent_role is 'The database roles that the tools of a tenant''s agents may run as. Written by register_agent_role.';

insert into aos_auth.role (role_name, description, is_builtin) values
    ('agent', 'The role of an agent that names no other: the default skills.', true),
    ('developer', 'Of a principal with a ticket: may make agents, personas and skills.', true),
    ('approver', 'Of a principal with a ticket: may decide about tool calls.', true),
    ('worker', 'Of a principal with a ticket: may drive turns from outside.', true),
    ('auditor', 'Of a principal with a ticket: may verify the event log and read the access report.', true),
    ('secret_manager', 'Of a principal with a ticket: may store secrets.', true);

select pg_catalog.pg_extension_config_dump('aos_auth.tenant', '');
select pg_catalog.pg_extension_config_dump('aos_auth.role', 'where not is_builtin');
select pg_catalog.pg_extension_config_dump('aos_auth.principal', '');
select pg_catalog.pg_extension_config_dump('aos_auth.role_grant', '');
select pg_catalog.pg_extension_config_dump('aos_auth.agent_role', '');
