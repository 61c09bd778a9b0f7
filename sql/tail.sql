-- Everything belongs to a role that nobody can log in as and that sees no more than row security lets it see. Two
-- functions stay the superuser's: _load calls pg_config(), _limit_temporary_files sets what only superusers set.
do $$
declare
    v_schema text;
    v_object record;
begin
    foreach v_schema in array array['aos_auth', 'aos_meta', 'aos_persona', 'aos_skills', 'aos_sandbox', 'aos_core', 'aos_agent'] loop
        for v_object in
            select format('%s %s', case p.prokind when 'p' then 'procedure' else 'function' end, p.oid::regprocedure) as named
              from pg_proc as p where p.pronamespace = v_schema::regnamespace and p.proname not in ('_load', '_limit_temporary_files')
            union all
            select format('%s %s', case c.relkind when 'v' then 'view' else 'table' end, c.oid::regclass)
              from pg_class as c where c.relnamespace = v_schema::regnamespace and c.relkind in ('r', 'p', 'v')
            union all
            select format('domain %s', t.oid::regtype)
              from pg_type as t where t.typnamespace = v_schema::regnamespace and t.typtype = 'd'
        loop
            execute format('alter %s owner to pgagentos_kernel', v_object.named);
        end loop;
        -- With the rights of who reads it, under his row security. PostgreSQL 14 reads a view with the rights of its
        -- owner, the kernel, which is under the same row security.
        if current_setting('server_version_num')::integer >= 150000 then
            for v_object in
                select c.oid::regclass as named from pg_class as c where c.relnamespace = v_schema::regnamespace and c.relkind = 'v'
            loop
                execute format('alter view %s set (security_invoker = true)', v_object.named);
            end loop;
        end if;
        execute format('revoke all on all routines in schema %I from public', v_schema);
        execute format('revoke all on all tables in schema %I from public', v_schema);
        execute format('alter schema %I owner to pgagentos_kernel', v_schema);
    end loop;
    -- The extensions that the kernel calls may live in schemas of their own.
    for v_object in
        select distinct n.nspname from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace
         where e.extname in ('vector', 'pgcrypto') and not has_schema_privilege('pgagentos_kernel', n.oid, 'usage')
    loop
        execute format('grant usage on schema %I to pgagentos_kernel', v_object.nspname);
    end loop;
end
$$;
revoke all on function aos_core._load() from public;
grant execute on function aos_core._load() to pgagentos_kernel;
revoke all on function aos_core._limit_temporary_files(integer) from public;
grant execute on function aos_core._limit_temporary_files(integer) to pgagentos_kernel;
select aos_auth._grant_tools('pgagentos_agent');

-- The functions of the path of every turn. They are called only below functions that have pinned the search path; to
-- pin it again would cost a twentieth of a turn (bench/), because PostgreSQL looks the path up anew each time. Their
-- statements find rows by keys, for which one plan is as good as another: without this, a session would plan them anew
-- in each of its first five turns, at twice the cost of the turn itself.
alter function aos_agent._ask(text, text, uuid) reset search_path;
alter function aos_agent._ask(text, text, uuid) set plan_cache_mode = force_generic_plan;
alter function aos_agent._start_turn(uuid, text, text) reset search_path;
alter function aos_agent._start_turn(uuid, text, text) set plan_cache_mode = force_generic_plan;
alter function aos_agent._read_turns(uuid[]) reset search_path;
alter function aos_agent._read_turns(uuid[]) set plan_cache_mode = force_generic_plan;
alter function aos_agent._budgets_of(uuid, uuid, text, uuid, uuid, uuid, integer, numeric) reset search_path;
alter function aos_agent._shared_use(uuid, uuid) reset search_path;
alter function aos_agent._shared_use(uuid, uuid) set plan_cache_mode = force_generic_plan;
alter function aos_agent._count_usage(uuid, uuid, bigint, numeric) reset search_path;
alter function aos_agent._count_usage(uuid, uuid, bigint, numeric) set plan_cache_mode = force_generic_plan;
alter function aos_agent._record_counted(uuid, json, json, text, text, jsonb, uuid, integer[]) reset search_path;
alter function aos_agent._record_counted(uuid, json, json, text, text, jsonb, uuid, integer[]) set plan_cache_mode = force_generic_plan;
alter function aos_core._record(uuid, json, json, text, text, jsonb) reset search_path;
alter function aos_core._record_all(json) reset search_path;
alter function aos_core._record_all(json) set plan_cache_mode = force_generic_plan;
-- A plan that was made while a table was empty, and known to be, would read all of it ever after.
alter function aos_core._record_all(json) set enable_seqscan = off;
alter function aos_core._record_all(json) set jit = off;
alter function aos_agent._record_all_claimed(json) reset search_path;
alter function aos_agent._record_all_claimed(json) set plan_cache_mode = force_generic_plan;
alter function aos_agent._record_all_claimed(json) set enable_seqscan = off;
alter function aos_agent._record_all_claimed(json) set jit = off;
