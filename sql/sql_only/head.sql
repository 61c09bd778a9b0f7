--@ first
-- pgAgentOS @version@, the edition that is one SQL script: for a database without PL/Python and without
-- extension files, run by whoever may create schemas in it. See docs/sql_only.md.
--
--   psql -d mydb -f pgagentos-@version@-sql-only.sql
--
-- Everything happens in one transaction: either all of it is there afterwards, or nothing.
\set ON_ERROR_STOP on
begin;
set local search_path = pg_catalog, pg_temp;
set local client_min_messages = warning;
do $$
declare
    v_role pg_roles;
begin
    if current_setting('server_version_num')::integer < 140000 then
        raise exception using errcode = 'feature_not_supported',
            message = format('pgAgentOS needs PostgreSQL 14 or newer, this is %s', current_setting('server_version'));
    end if;
    select r.* into strict v_role from pg_roles as r where r.rolname = current_user;
    if v_role.rolsuper or v_role.rolbypassrls then
        raise exception using errcode = 'OS901',
            message = format('the role %I sees past row security and cannot own pgAgentOS', current_user),
            detail = 'Its functions run with the rights of their owner, and row security keeps tenants apart there too.',
            hint = format('CREATE ROLE pgagentos_owner NOLOGIN; GRANT pgagentos_owner TO %I; GRANT CREATE ON DATABASE %I TO pgagentos_owner; then SET ROLE pgagentos_owner; and run this script in the same session with \i.',
                current_user, current_database());
    elsif exists (select from pg_namespace as n where n.nspname in ('aos_auth', 'aos_meta', 'aos_persona', 'aos_skills', 'aos_sandbox',
                      'aos_core', 'aos_agent')) then
        raise exception using errcode = 'duplicate_schema', message = 'pgAgentOS is in this database already',
            hint = 'SELECT obj_description(''aos_agent''::regnamespace); shows what was installed. Nothing was changed.';
    elsif not has_database_privilege(current_database(), 'create') then
        raise exception using errcode = 'insufficient_privilege',
            message = format('the role %I may not create schemas in this database', current_user),
            hint = format('Its owner says GRANT CREATE ON DATABASE %I TO %I;', current_database(), current_user);
    end if;
end
$$;

--@ instead of comment schema aos_sandbox
comment on schema aos_sandbox is 'One function for each database role that tools run as. Nothing here is for people to call.';
