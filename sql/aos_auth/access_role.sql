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
        begin
            execute format('create role %I nologin nosuperuser nobypassrls nocreaterole nocreatedb noreplication', v_name);
        exception when duplicate_object or unique_violation then  -- unique_violation: another session is making it just now
            null;
        end;
        select r.* into strict v_role from pg_roles as r where r.rolname = v_name;
        if v_role.rolcanlogin or v_role.rolsuper or v_role.rolbypassrls or v_role.rolcreaterole or v_role.rolcreatedb or v_role.rolreplication then
            raise exception using errcode = 'duplicate_object',
                message = format('there is a role %I that can log in or has rights of its own', v_name),
                detail = 'pgAgentOS needs the name for a group role without any.',
                hint = format('Rename it, or ALTER ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION;', v_name);
        end if;
    end loop;
    -- The kernel stops sessions that drive a turn which is cancelled, and shows who drives what.
    foreach v_name in array array['pg_signal_backend', 'pg_read_all_stats'] loop
        if not pg_has_role('pgagentos_kernel', v_name, 'member') then
            begin
                execute format('grant %I to pgagentos_kernel', v_name);
            exception when unique_violation then  -- another session does it just now
                null;
            end;
        end if;
    end loop;
    -- The kernel gives out the accesses, so that an operator need not be a superuser (grant_access).
    foreach v_name in array array['operator', 'secret_manager', 'approver', 'developer', 'auditor', 'worker', 'user'] loop
        v_name := 'pgagentos_' || v_name;
        if not exists (select from pg_auth_members as m
                        where m.roleid = v_name::regrole and m.member = 'pgagentos_kernel'::regrole and m.admin_option) then
            begin
                execute format('grant %I to pgagentos_kernel with admin option', v_name);
            exception when unique_violation then
                null;
            end;
        end if;
    end loop;
end
$$;

create function aos_auth._require_operator(refusal text default 'only an operator may do this') returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if aos_auth._visible_tenant() is distinct from '00000000-0000-0000-0000-000000000000' then
        raise exception using errcode = 'insufficient_privilege', message = _require_operator.refusal,
            hint = 'A superuser or a member of pgagentos_operator, outside of turns, in a transaction that has begun no ticket.';
    end if;
end
$$;
comment on function aos_auth._require_operator(text) is 'Raises an error, in these words, unless an operator acts.';

create function aos_auth._group_role(access text) returns name
    language plpgsql stable set search_path = pg_catalog, pg_temp
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

create function aos_auth._person_role(db_role name) returns name
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_detail text;
begin
    if not exists (select from pg_roles as r where r.rolname = _person_role.db_role) then
        raise exception using errcode = 'undefined_object', message = format('there is no role %s', coalesce(quote_ident(_person_role.db_role), 'NULL')),
            hint = 'CREATE ROLE name LOGIN; makes one.';
    end if;
    if _person_role.db_role in ('pgagentos_kernel', 'pgagentos_operator', 'pgagentos_secret_manager', 'pgagentos_approver', 'pgagentos_developer',
            'pgagentos_auditor', 'pgagentos_worker', 'pgagentos_user', 'pgagentos_parser') then
        v_detail := 'It is a role of pgAgentOS itself.';
    else
        select format('The tools of agents run as %I, and would have the access too.', r.rolname) into v_detail
          from pg_roles as r
         where (r.rolname = 'pgagentos_agent' or exists (select from aos_auth.agent_role as a where a.db_role = r.rolname))
           and pg_has_role(r.rolname, _person_role.db_role, 'member')
         order by r.rolname limit 1;
    end if;
    if v_detail is not null then
        raise exception using errcode = 'OS001', message = format('the role %I cannot be given access', _person_role.db_role),
            detail = v_detail, hint = 'Access is for people and programs: give it to the role that they log in with.';
    end if;
    return _person_role.db_role;
end
$$;
comment on function aos_auth._person_role(name) is 'The role as it is; an error unless it is one that may have access: no role that tools run as.';

-- Definers: the kernel may give out the accesses, an operator who is no superuser may not.
create function aos_auth.grant_access(db_role name, access text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform aos_auth._require_operator();
    execute format('grant %I to %I', aos_auth._group_role(grant_access.access), aos_auth._person_role(grant_access.db_role));
    perform aos_core._log(null, null, null, 'access_granted', jsonb_build_object('db_role', grant_access.db_role, 'access', grant_access.access));
end
$$;
comment on function aos_auth.grant_access(name, text) is
    'Gives a database role access: operator, secret_manager, approver, developer, auditor, worker or user. Roles belong to the whole server: the access holds in each of its databases that has pgAgentOS and lets the role connect.';

create function aos_auth.revoke_access(db_role name, access text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_group name := aos_auth._group_role(revoke_access.access);
    v_left text;
begin
    perform aos_auth._require_operator();
    if not exists (select from pg_roles as r where r.rolname = revoke_access.db_role) then
        raise exception using errcode = 'undefined_object', message = format('there is no role %s', coalesce(quote_ident(revoke_access.db_role), 'NULL')),
            hint = 'SELECT rolname FROM pg_roles lists them.';
    end if;
    if exists (select from pg_auth_members as m where m.roleid = v_group::regrole and m.member = quote_ident(revoke_access.db_role)::regrole) then
        execute format('revoke %I from %I', v_group, revoke_access.db_role);
    end if;
    -- What is left was given by somebody else, or reaches the role through another one.
    select string_agg(distinct coalesce(g.rolname, '?'), ', ') into v_left
      from pg_auth_members as m
      left join pg_roles as g on g.oid = m.grantor
     where m.roleid = v_group::regrole and m.member = quote_ident(revoke_access.db_role)::regrole;
    if v_left is not null then
        raise exception using errcode = 'OS003', message = format('the role %I still has the access %s', revoke_access.db_role, revoke_access.access),
            detail = format('It was granted by %s.', v_left),
            hint = format('As a superuser: REVOKE %I FROM %I;', v_group, revoke_access.db_role);
    elsif pg_has_role(revoke_access.db_role, v_group, 'member')
        and not (select r.rolsuper from pg_roles as r where r.rolname = revoke_access.db_role) then
        raise warning using message = format('the role %I still has the access %s through another role', revoke_access.db_role, revoke_access.access),
            hint = 'SELECT * FROM aos_auth.access_report() shows through which.';
    end if;
    perform aos_core._log(null, null, null, 'access_revoked', jsonb_build_object('db_role', revoke_access.db_role, 'access', revoke_access.access));
end
$$;
comment on function aos_auth.revoke_access(name, text) is 'Takes back what grant_access gave; an error when a grant by somebody else is left.';
