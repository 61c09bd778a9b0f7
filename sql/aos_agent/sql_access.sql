-- What an agent's own SQL may read, and the skill sql_query.

create table aos_agent.sql_access (
    sql_access_id uuid not null default gen_random_uuid(),
    tenant_id uuid not null,
    agent_id uuid not null,
    schema_name text not null,
    table_name text,
    columns text[],
    created_at timestamptz not null default now(),
    constraint sql_access_pkey primary key (sql_access_id, tenant_id),
    constraint sql_access_is_of_an_agent foreign key (agent_id, tenant_id)
        references aos_agent.agent (agent_id, tenant_id) on delete cascade,
    constraint sql_access_is_not_to_the_system
        check (schema_name <> 'information_schema' and schema_name !~ '^(pg_|aos_)' and schema_name <> ''),
    constraint sql_access_to_columns_names_a_table check (columns is null or (table_name is not null and cardinality(columns) > 0))
);
create unique index sql_access_to_a_table_is_one on aos_agent.sql_access (tenant_id, agent_id, schema_name, table_name) where table_name is not null;
create unique index sql_access_to_a_schema_is_one on aos_agent.sql_access (tenant_id, agent_id, schema_name) where table_name is null;
create index sql_access_agent on aos_agent.sql_access (agent_id);
comment on table aos_agent.sql_access is 'What the skill sql_query may read for an agent. A row for a table wins over the row for its schema.';
comment on column aos_agent.sql_access.table_name is 'The table, view or materialized view; null: all of the schema, also those to come.';
comment on column aos_agent.sql_access.columns is 'The columns that may be read; null: all.';

alter table aos_agent.sql_access enable row level security;
alter table aos_agent.sql_access force row level security;
create policy tenant on aos_agent.sql_access
    using ((select aos_auth._visible_tenant()) = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']));
create policy developer_adds on aos_agent.sql_access as restrictive for insert with check ((select aos_auth.has_access('developer')));
create policy developer_changes on aos_agent.sql_access as restrictive for update using ((select aos_auth.has_access('developer')));
create policy developer_deletes on aos_agent.sql_access as restrictive for delete using ((select aos_auth.has_access('developer')));
select pg_catalog.pg_extension_config_dump('aos_agent.sql_access', '');

create function aos_agent._sql_table(table_name text, out schema_name text, out name text) returns record
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_parts text[] := parse_ident(_sql_table.table_name);
begin
    if cardinality(v_parts) > 2 then
        raise exception using errcode = 'OS001', message = format('%s is not the name of a table', _sql_table.table_name),
            hint = 'Write table, schema.table, or schema.* for all tables of a schema.';
    end if;
    schema_name := case when cardinality(v_parts) = 2 then v_parts[1] else 'public' end;
    name := v_parts[cardinality(v_parts)];
end
$$;
comment on function aos_agent._sql_table(text) is 'Schema and name of "table" or "schema.table"; a table without a schema is in public.';

create function aos_agent.grant_table(agent_name text, table_name text, columns text[] default null) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_agent aos_agent.agent;
    v_schema text;
    v_table text;
    v_relation pg_class;
    v_role name;
    v_missing text;
begin
    perform aos_auth._require('developer');
    v_agent := aos_agent._agent(grant_table.agent_name);
    if right(grant_table.table_name, 2) = '.*' then
        v_schema := (parse_ident(left(grant_table.table_name, -2)))[1];
        if to_regnamespace(quote_ident(v_schema)) is null then
            raise exception using errcode = 'OS002', message = format('there is no schema %s', v_schema), hint = 'SELECT nspname FROM pg_namespace lists the schemas.';
        end if;
    else
        select t.schema_name, t.name into v_schema, v_table from aos_agent._sql_table(grant_table.table_name) as t;
        select c.* into v_relation from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
         where n.nspname = v_schema and c.relname = v_table and c.relkind in ('r', 'p', 'v', 'm');
        if not found then
            raise exception using errcode = 'OS002', message = format('there is no table %s', grant_table.table_name),
                hint = 'Name a table, view or materialized view with its schema, for example sales.orders.';
        end if;
        if v_relation.relkind = 'v' and not exists (select from pg_options_to_table(v_relation.reloptions) as o
                where o.option_name in ('security_barrier', 'security_invoker') and o.option_value::boolean) then
            raise exception using errcode = 'OS001', message = format('the view %s is neither a security barrier nor a security invoker', grant_table.table_name),
                hint = format('ALTER VIEW %s SET (security_barrier = true); else a query could see rows that the view hides.', grant_table.table_name);
        end if;
        select string_agg(format('%I', c.name), ', ') into v_missing from unnest(grant_table.columns) as c (name)
         where not exists (select from pg_attribute as a where a.attrelid = v_relation.oid and a.attname = c.name and a.attnum > 0 and not a.attisdropped);
        if v_missing is not null then
            raise exception using errcode = 'OS002', message = format('%s has no column %s', grant_table.table_name, v_missing),
                hint = 'Column names are written as they are stored, without quotes.';
        end if;
    end if;
    if v_schema ~ '^(pg_|aos_)' or v_schema = 'information_schema' then
        raise exception using errcode = 'OS001', message = format('tables of %s are not for agents', v_schema),
            hint = 'Make a view with the columns that the agent needs in a schema of your own.';
    end if;
    insert into aos_agent.sql_access (tenant_id, agent_id, schema_name, table_name, columns)
    select v_agent.tenant_id, v_agent.agent_id, v_schema, v_table, grant_table.columns
     where not exists (select from aos_agent.sql_access as a where a.agent_id = v_agent.agent_id and a.tenant_id = v_agent.tenant_id
                          and a.schema_name = v_schema and a.table_name is not distinct from v_table);
    update aos_agent.sql_access as a set columns = grant_table.columns
     where a.agent_id = v_agent.agent_id and a.tenant_id = v_agent.tenant_id
       and a.schema_name = v_schema and a.table_name is not distinct from v_table;
    v_role := coalesce(v_agent.db_role, 'pgagentos_agent');
    v_missing := concat_ws(' ',
        case when not has_schema_privilege(v_role, v_schema, 'usage') or not has_schema_privilege('pgagentos_parser', v_schema, 'usage')
            then format('GRANT USAGE ON SCHEMA %I TO %I, pgagentos_parser;', v_schema, v_role) end,
        case when v_relation.oid is null or has_table_privilege(v_role, v_relation.oid, 'select') then null
            when grant_table.columns is null and not has_any_column_privilege(v_role, v_relation.oid, 'select')
            then format('GRANT SELECT ON %I.%I TO %I;', v_schema, v_table, v_role)
            else (select format('GRANT SELECT (%s) ON %I.%I TO %I;', string_agg(format('%I', c.name), ', '), v_schema, v_table, v_role)
                    from unnest(grant_table.columns) as c (name)
                   where not has_column_privilege(v_role, v_relation.oid, c.name, 'select')
                  having count(*) > 0) end);
    if v_missing <> '' then
        raise warning using message = format('the database role of agent %s cannot read %s yet', v_agent.name, grant_table.table_name), hint = v_missing;
    end if;
end
$$;
comment on function aos_agent.grant_table(text, text, text[]) is
    'Lets an agent''s skill sql_query read a table, some of its columns, or with schema.* all tables of a schema. The database role of the agent needs SELECT besides.';
-- Security definer because developers do not write the table; _require is the check.

create function aos_agent.revoke_table(agent_name text, table_name text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_agent aos_agent.agent;
    v_schema text;
    v_table text;
begin
    perform aos_auth._require('developer');
    v_agent := aos_agent._agent(revoke_table.agent_name);
    if right(revoke_table.table_name, 2) = '.*' then
        v_schema := (parse_ident(left(revoke_table.table_name, -2)))[1];
    else
        select t.schema_name, t.name into v_schema, v_table from aos_agent._sql_table(revoke_table.table_name) as t;
    end if;
    delete from aos_agent.sql_access as a
     where a.agent_id = v_agent.agent_id and a.tenant_id = v_agent.tenant_id
       and a.schema_name = v_schema and a.table_name is not distinct from v_table;
    if not found then
        raise exception using errcode = 'OS002', message = format('agent %L was not granted %s', revoke_table.agent_name, revoke_table.table_name),
            hint = 'SELECT schema_name, table_name FROM aos_agent.sql_access lists what agents may read.';
    end if;
end
$$;
comment on function aos_agent.revoke_table(text, text) is 'Takes back what grant_table gave, named in the same way.';

create table aos_agent.sql_function_access (
    function_name text not null,
    created_at timestamptz not null default now(),
    constraint sql_function_access_pkey primary key (function_name),
    constraint sql_function_access_names_schema_and_arguments check (function_name ~ '^("[^"]+"|[a-z_][a-z0-9_$]*)\.("[^"]+"|[a-z_][a-z0-9_$]*)\(.*\)$')
);
comment on column aos_agent.sql_function_access.function_name is 'Schema, name and argument types, for example sales.net_price(numeric, text).';
comment on table aos_agent.sql_function_access is
    'Functions besides the built-in ones that the queries of all agents may call. Kept by the operator: one call of such a function should be short and change nothing.';
select pg_catalog.pg_extension_config_dump('aos_agent.sql_function_access', '');

create function aos_agent.allow_sql_function(function regprocedure) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform aos_auth._require_operator();
    insert into aos_agent.sql_function_access (function_name)
    select format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes))
      from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
     where p.oid = allow_sql_function.function
    on conflict do nothing;
end
$$;
comment on function aos_agent.allow_sql_function(regprocedure) is
    'Lets the queries of all agents call a function. One call of it should be short and change nothing; the database roles of the agents need EXECUTE besides.';
-- Security definer because the table is the kernel's; _require_operator is the check.

create function aos_agent.forbid_sql_function(function regprocedure) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform aos_auth._require_operator();
    delete from aos_agent.sql_function_access as f using pg_proc as p, pg_namespace as n
     where p.oid = forbid_sql_function.function and n.oid = p.pronamespace
       and f.function_name = format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes));
end
$$;
comment on function aos_agent.forbid_sql_function(regprocedure) is 'Takes back what allow_sql_function gave.';

create function aos_agent.sql_query(agent_name text, query text) returns text
    language plpython3u volatile security definer set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'agent.sql_query', agent_name, query)
$$;
comment on function aos_agent.sql_query(text, text) is
    'What the skill sql_query would answer this agent: to try out what it may read.';

insert into aos_skills.skill (skill_id, name, description, parameters, implementation, is_builtin)
values ('b0a05000-0000-5000-8000-000000000007', 'sql_query',
    'Runs one read-only SQL query (PostgreSQL) and returns its rows as JSON. Only SELECT, WITH and VALUES; only the tables of this agent.',
    '{"type": "object", "properties": {"query": {"type": "string", "description": "one SELECT statement"}}, "required": ["query"], "additionalProperties": false}',
    'sql_query', true);

grant select on aos_agent.sql_access, aos_agent.sql_function_access to pgagentos_developer, pgagentos_auditor, pgagentos_operator;
grant insert, update, delete on aos_agent.sql_function_access to pgagentos_operator;
grant execute on function aos_agent.grant_table(text, text, text[]), aos_agent.revoke_table(text, text), aos_agent.sql_query(text, text)
    to pgagentos_developer, pgagentos_operator;
grant execute on function aos_agent.allow_sql_function(regprocedure), aos_agent.forbid_sql_function(regprocedure) to pgagentos_operator;
