-- Roles belong to the whole server, not to this database: another database may have made them already, and they stay
-- when the extension is dropped. What is taken over must be what this script would have made.
do $$
declare
    v_name text;
    v_role pg_roles;
begin
    foreach v_name in array array['kernel', 'operator', 'secret_manager', 'approver', 'developer', 'auditor', 'worker', 'user',
            'agent', 'parser'] loop
        v_name := 'pgagentos_' || v_name;
        select r.* into v_role from pg_roles as r where r.rolname = v_name;
        if not found then
            execute format('create role %I nologin nosuperuser nobypassrls nocreaterole nocreatedb noreplication', v_name);
        elsif v_role.rolcanlogin or v_role.rolsuper or v_role.rolbypassrls or v_role.rolcreaterole or v_role.rolcreatedb or v_role.rolreplication then
            raise exception using errcode = 'duplicate_object',
                message = format('there is a role %I that can log in or has rights of its own', v_name),
                detail = 'pgAgentOS needs the name for a group role without any.',
                hint = format('Rename it, or ALTER ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION;', v_name);
        end if;
    end loop;
end
$$;

create function aos_auth.grant_access(db_role name, access text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('grant %I to %I', aos_auth._group_role(grant_access.access), grant_access.db_role);
end
$$;
comment on function aos_auth.grant_access(name, text) is
    'Gives a database role access: operator, secret_manager, approver, developer, auditor, worker or user. Runs with the rights of the caller, who must be allowed to grant roles.';

create function aos_auth.revoke_access(db_role name, access text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('revoke %I from %I', aos_auth._group_role(revoke_access.access), revoke_access.db_role);
end
$$;
comment on function aos_auth.revoke_access(name, text) is 'Takes back what grant_access gave.';

create function aos_auth._group_role(access text) returns name
    language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
    if access is null or access not in ('operator', 'secret_manager', 'approver', 'developer', 'auditor', 'worker', 'user') then
        raise exception using errcode = 'OS001', message = format('there is no access %L', access),
            hint = 'Use operator, secret_manager, approver, developer, auditor, worker or user.';
    end if;
    return 'pgagentos_' || access;
end
$$;
comment on function aos_auth._group_role(text) is 'The database role that stands for an access.';
