--@ instead of do aos_auth/access_role.sql
-- Group roles, where they are to be had: those that exist, or that this role may create. Without them grant_access gives
-- the same privileges to a role directly.
do $$
declare
    v_name text;
begin
    if not (select r.rolcreaterole from pg_roles as r where r.rolname = current_user) then
        return;
    end if;
    foreach v_name in array array['developer', 'approver', 'auditor', 'worker', 'user', 'agent'] loop
        v_name := 'pgagentos_' || v_name;
        begin
            execute format('create role %I nologin', v_name);
        exception when duplicate_object or unique_violation then
            null;
        end;
    end loop;
end
$$;

create table aos_auth.access_grant (
    db_role name not null,
    access text not null,
    granted_at timestamptz not null default now(),
    constraint access_grant_pkey primary key (db_role, access)
);
comment on table aos_auth.access_grant is 'The accesses that grant_access gave to a role directly, without a group role.';

create function aos_auth._set_access(db_role name, access text, is_given boolean) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_privilege text;
begin
    for v_privilege in select p.privilege from aos_auth._access_privileges() as p where _set_access.access = any (p.accesses) loop
        execute format(case when is_given then 'grant %s to %I' else 'revoke %s from %I' end, v_privilege, _set_access.db_role);
    end loop;
end
$$;
comment on function aos_auth._set_access(name, text, boolean) is 'Gives a role what comes with an access, or takes it.';

--@ edit function aos_auth._require_operator
--< hint = 'A superuser or a member of pgagentos_operator, outside of turns, in a transaction that has begun no ticket.';
--> hint = 'The owner of the schemas, or a member of the role that owns them, outside of turns.';

--@ instead of function aos_auth.grant_access
create function aos_auth.grant_access(db_role name, access text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_group name := aos_auth._group_role(grant_access.access);
    v_role name;
begin
    perform aos_auth._require_operator();
    v_role := aos_auth._person_role(grant_access.db_role);
    if grant_access.access = 'operator' then
        raise exception using errcode = 'OS001', message = 'operators are those who may act as the owner of the schemas',
            hint = format('GRANT %I TO %I;', current_user, v_role);
    elsif grant_access.access = 'secret_manager' then
        raise exception using errcode = 'OS001', message = 'this database holds no secrets',
            hint = 'The keys of model services belong to the outside worker.';
    end if;
    if exists (select from pg_roles as r where r.rolname = v_group and has_schema_privilege(r.oid, 'aos_agent', 'usage')) then
        begin
            execute format('grant %I to %I', v_group, v_role);
            v_group := null;
        exception when insufficient_privilege then
            null;  -- the group is somebody else's to give out
        end;
    end if;
    if v_group is not null then
        insert into aos_auth.access_grant (db_role, access) values (v_role, grant_access.access)
        on conflict on constraint access_grant_pkey do nothing;
        perform aos_auth._set_access(v_role, grant_access.access, true);
    end if;
    perform aos_core._log(null, null, null, 'access_granted', jsonb_build_object('db_role', v_role, 'access', grant_access.access));
end
$$;
comment on function aos_auth.grant_access(name, text) is
    'Gives a database role access: developer, approver, auditor, worker or user. Through the group role of that name where it is to be had, else the privileges themselves, in this database.';

--@ instead of function aos_auth.revoke_access
create function aos_auth.revoke_access(db_role name, access text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_group name := aos_auth._group_role(revoke_access.access);
    v_role oid := (select r.oid from pg_roles as r where r.rolname = revoke_access.db_role);
    v_other text;
begin
    perform aos_auth._require_operator();
    if v_role is null then
        raise exception using errcode = 'undefined_object', message = format('there is no role %s', coalesce(quote_ident(revoke_access.db_role), 'NULL')),
            hint = 'SELECT rolname FROM pg_roles lists them.';
    end if;
    delete from aos_auth.access_grant as g where g.db_role = revoke_access.db_role and g.access = revoke_access.access;
    if found then
        perform aos_auth._set_access(revoke_access.db_role, revoke_access.access, false);
        -- Accesses share privileges: those that stay are given anew.
        for v_other in select g.access from aos_auth.access_grant as g where g.db_role = revoke_access.db_role loop
            perform aos_auth._set_access(revoke_access.db_role, v_other, true);
        end loop;
    end if;
    if exists (select from pg_auth_members as m join pg_roles as g on g.oid = m.roleid where g.rolname = v_group and m.member = v_role) then
        begin
            execute format('revoke %I from %I', v_group, revoke_access.db_role);
        exception when insufficient_privilege then
            null;  -- the group is somebody else's to take back
        end;
    end if;
    if exists (select from pg_auth_members as m join pg_roles as g on g.oid = m.roleid where g.rolname = v_group and m.member = v_role) then
        raise exception using errcode = 'OS003', message = format('the role %I still has the access %s', revoke_access.db_role, revoke_access.access),
            hint = format('Somebody else gave it: he says REVOKE %I FROM %I;', v_group, revoke_access.db_role);
    end if;
    perform aos_core._log(null, null, null, 'access_revoked', jsonb_build_object('db_role', revoke_access.db_role, 'access', revoke_access.access));
end
$$;

--@ instead of function aos_auth._grant_tools
create function aos_auth._grant_tools(db_role name) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_function text := format('aos_sandbox.%I(text, jsonb, uuid, uuid, uuid)', _grant_tools.db_role);
begin
    if pg_has_role(_grant_tools.db_role, current_user, 'member') then
        raise exception using errcode = 'OS001', message = format('the role %I cannot be an agent''s', _grant_tools.db_role),
            detail = format('It is, or is a member of, %I, who owns pgAgentOS here.', current_user),
            hint = 'Make a role that has only what the agent''s tools need.';
    end if;
    execute format('grant usage on schema aos_auth, aos_skills, aos_core to %I', _grant_tools.db_role);
    execute format('grant execute on function aos_auth.tenant_id(), aos_auth.principal_id(), aos_skills.describe_schema(text),
        aos_core.memory_store(text, text, uuid, uuid), aos_core.memory_recall(text, uuid) to %I', _grant_tools.db_role);
    begin
        if not pg_has_role(current_user, _grant_tools.db_role, 'usage') then
            execute format('grant %I to %I', _grant_tools.db_role, current_user);
        end if;
        -- A SECURITY DEFINER function of the role itself: below it, as SET ROLE is refused inside a definer, nothing gets
        -- the kernel's rights back. Its owner could make it an invoker by ALTER FUNCTION: it looks who it runs as, and
        -- aos_agent._as_agent_role looks at what it is.
        execute format($create$create or replace function aos_sandbox.%1$I(
    statement text, arguments jsonb, conversation_id uuid, turn_id uuid, tenant_id uuid) returns json
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $body$
declare
    v_result json;
begin
    if current_user <> %1$L then
        raise exception using errcode = 'OS901', message = format('tools of the role %%s would run as %%s', %1$L, current_user);
    end if;
    execute statement into v_result using arguments, conversation_id, turn_id, tenant_id;
    -- What a tool has put off to the end of the transaction happens now, with the rights of the tool.
    set constraints all immediate;
    return v_result;
end
$body$
$create$, _grant_tools.db_role);
        execute format('comment on function %s is %L', v_function, format('Runs a tool with the rights of %I.', _grant_tools.db_role));
        execute format('revoke all on function %s from public', v_function);
        execute format('grant create on schema aos_sandbox to %I', _grant_tools.db_role);
        execute format('alter function %s owner to %I', v_function, _grant_tools.db_role);
        execute format('revoke create on schema aos_sandbox from %I', _grant_tools.db_role);
        execute format('grant execute on function %s to %I', v_function, current_user);
    exception when insufficient_privilege then
        raise exception using errcode = 'insufficient_privilege',
            message = format('%I may not act as the role %I', current_user, _grant_tools.db_role), detail = sqlerrm,
            hint = format('Whoever administers the role says GRANT %I TO %I;', _grant_tools.db_role, current_user);
    end;
end
$$;
comment on function aos_auth._grant_tools(name) is
    'Gives a role what every agent''s tools may call, and makes the function that runs tools with its rights, which belongs to it.';
