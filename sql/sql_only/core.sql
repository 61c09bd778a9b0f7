--@ instead of do aos_core/tables.sql
-- Always null here: there are no vectors.
alter table aos_core.session_memory add column embedding text;

--@ edit comment column aos_core.session_memory.embedding
--< 'The content as a vector, when an embedding model is set.'
--> 'Null: vectors are made by the extension only.'

--@ after aos_core/step.sql
create function aos_core._run_outside() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    new.runner := 'external';
    if new.status = 'queued' then
        new.status := 'awaiting_model';
    end if;
    new.waiting_reason := coalesce(new.waiting_reason, 'the database has no PL/Python: an outside worker calls the model');
    return new;
end
$$;
comment on function aos_core._run_outside() is 'Trigger: every turn is driven from outside, also one whose model needs no key.';

create trigger run_outside before insert on aos_core.run
    for each row when (new.runner <> 'external') execute function aos_core._run_outside();

--@ instead of function aos_core.check_installation
create function aos_core.check_installation(out component text, out status text, out detail text, out hint text) returns setof record
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select text 'edition', text 'ok', text '@version@, SQL only: an outside worker calls models and services', null::text
        union all
        select 'owner', case when r.rolsuper or r.rolbypassrls then 'wrong' else 'ok' end,
               format('%I%s', r.rolname, case when r.rolsuper or r.rolbypassrls then ' sees past row security' end),
               case when r.rolsuper or r.rolbypassrls then format('ALTER ROLE %I NOSUPERUSER NOBYPASSRLS;', r.rolname) end
          from pg_namespace as n join pg_roles as r on r.oid = n.nspowner where n.nspname = 'aos_auth'
        union all
        select format('role %I', a.db_role), case when aos_agent._runs_tools(a.db_role) then 'ok' else 'missing' end,
               case when aos_agent._runs_tools(a.db_role) then 'runs tools' else 'cannot run tools' end,
               case when not aos_agent._runs_tools(a.db_role)
                   then format('SELECT aos_auth.register_agent_role(%L, %L);', a.db_role, a.tenant_id) end
          from aos_auth.agent_role as a
        union all
        select format('skill %s', s.name), 'missing', format('function %s does not exist any more', s.function_name),
               'Create the function again, or set is_active of the skill to false in aos_skills.skill.'
          from aos_skills.skill as s
         where s.is_active and s.implementation = 'sql_function' and to_regprocedure(s.function_name) is null;
end
$$;
