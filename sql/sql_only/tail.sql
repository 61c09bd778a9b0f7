--@ instead of do tail.sql
do $$
declare
    v_schema text;
    v_view regclass;
begin
    foreach v_schema in array array['aos_auth', 'aos_meta', 'aos_persona', 'aos_skills', 'aos_sandbox', 'aos_core', 'aos_agent'] loop
        -- With the rights of who reads it, under his row security. PostgreSQL 14 reads a view with the rights of its
        -- owner, who is under the same row security.
        if current_setting('server_version_num')::integer >= 150000 then
            for v_view in
                select c.oid::regclass from pg_class as c where c.relnamespace = v_schema::regnamespace and c.relkind = 'v'
            loop
                execute format('alter view %s set (security_invoker = true)', v_view);
            end loop;
        end if;
        execute format('revoke all on all functions in schema %I from public', v_schema);
        execute format('revoke all on all procedures in schema %I from public', v_schema);
        execute format('revoke all on all tables in schema %I from public', v_schema);
    end loop;
end
$$;

--@ instead of select aos_auth._grant_tools('pgagentos_agent
-- The tools of agents that name no role of their own run as pgagentos_agent, where it is ours to use.
do $$
begin
    if exists (select from pg_roles as r where r.rolname = 'pgagentos_agent') then
        perform aos_auth._grant_tools('pgagentos_agent');
    end if;
exception when insufficient_privilege then
    null;  -- somebody else's: each agent needs a role by register_agent_role then
end
$$;

--@ last
-- The group roles that there are get what the extension gives them.
revoke all on function aos_auth._access_privileges() from public;
do $$
declare
    v_role pg_roles;
begin
    for v_role in select r.* from pg_roles as r
                   where r.rolname in ('pgagentos_developer', 'pgagentos_approver', 'pgagentos_auditor', 'pgagentos_worker', 'pgagentos_user')
    loop
        if v_role.rolcanlogin or v_role.rolsuper or v_role.rolbypassrls then
            raise warning using message = format('the role %I is no group role: it is left alone', v_role.rolname),
                hint = 'aos_auth.grant_access gives accesses to roles directly.';
        else
            perform aos_auth._set_access(v_role.rolname, substr(v_role.rolname, 11), true);
        end if;
    end loop;
end
$$;
comment on schema aos_agent is 'The API that people call: agents, conversations, turns. pgAgentOS @version@, SQL only.';
commit;
\echo pgAgentOS @version@ (SQL only) is installed. SELECT * FROM aos_core.check_installation(); shows how it stands.
