-- Who acts is known to the kernel, in the backend's memory (plpy_src/pgagentos/identity.py). These functions ask it.
-- They set no search path: they name nothing that is looked up (what is in SQL was bound when it was made, what is in
-- Python has no bare type and no operator, see store/identities.py), and row security calls them in every statement. Parallel unsafe, all of them: PL/Python opens
-- a subtransaction for what it asks, and where that is refused, as in a parallel query, the server's PL/Python leaves its
-- interpreter broken: the next call is a segmentation fault. So they also look whether they are in one all the same
-- (IsInParallelMode), as below a function of somebody's that is marked PARALLEL SAFE.

create function aos_auth._session_identity() returns table (tenant_id uuid, principal_id uuid, is_operator boolean)
    language sql stable
begin atomic
    -- A superuser is a member of every role.
    select p.tenant_id, p.principal_id, pg_has_role(session_user, 'pgagentos_operator', 'member')
      from (select) as always
      left join aos_auth.principal as p on p.db_role = session_user and p.is_active;
end;
comment on function aos_auth._session_identity() is
    'Who the login of this session is: the principal whose db_role it is (whatever its tenant''s state), or an operator.';

create function aos_auth._is_active(tenant_id uuid) returns boolean
    language sql stable
return exists (select from aos_auth.tenant as t where t.tenant_id = _is_active.tenant_id and t.is_active);
comment on function aos_auth._is_active(uuid) is 'Whether a tenant is there, visible and active.';

create function aos_auth._visible_tenant() returns uuid
    language plpython3u stable security definer
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'auth.visible_tenant')
$$;
comment on function aos_auth._visible_tenant() is
    'The tenant whose rows may be seen, for the policies of pgAgentOS; the nil UUID stands for all tenants (an operator outside a turn), null for none.';

create function aos_auth.tenant_id() returns uuid
    language plpython3u stable security definer
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'auth.tenant_id')
$$;
comment on function aos_auth.tenant_id() is
    'The tenant that acts: of the turn that is run, of the ticket, or of the login''s principal; null when there is none. For the policies of your own tables: USING (tenant_id = (SELECT aos_auth.tenant_id())).';

create function aos_auth.principal_id() returns uuid
    language plpython3u stable security definer
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'auth.principal_id')
$$;
comment on function aos_auth.principal_id() is 'The principal that acts; null when it is not known.';

create function aos_auth.actor() returns text
    language sql stable
return coalesce(session_user || '/' || aos_auth.principal_id()::text, session_user);
comment on function aos_auth.actor() is 'Who acts, for the record: the login, and behind a slash the principal when it is known.';

create function aos_auth._identity_source() returns text
    language plpython3u stable set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'auth.identity_source')
$$;
comment on function aos_auth._identity_source() is 'How it is known who acts: turn, ticket, operator, db_role or nobody.';

create function aos_auth.has_access(access text) returns boolean
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if aos_auth._identity_source() <> 'ticket' then
        return true;
    end if;
    return exists (
        select from aos_auth.role_grant as g
         where g.principal_id = (select aos_auth.principal_id()) and g.role_name = has_access.access
           and (g.expires_at is null or g.expires_at > now()));
end
$$;
comment on function aos_auth.has_access(text) is
    'Whether the one who acts has this access besides the rights of the login. A login has what it was granted: true. All tickets share a login, so their owners need a role of that name by aos_auth.role_grant.';

create function aos_auth._require(access text) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if aos_auth._identity_source() = 'nobody' then
        raise exception using errcode = 'insufficient_privilege', message = 'it is not known who acts',
            hint = 'Begin a ticket in this transaction, or make the login a principal''s (aos_auth.principal.db_role).';
    elsif not aos_auth.has_access(_require.access) then
        raise exception using errcode = 'insufficient_privilege',
            message = format('the principal of this ticket has not the role %s', _require.access),
            hint = 'INSERT INTO aos_auth.role_grant (principal_id, tenant_id, role_name) ... gives it.';
    end if;
end
$$;
comment on function aos_auth._require(text) is 'Raises an error unless somebody acts, and has this access.';

create function aos_auth.register_agent_role(db_role name, tenant_id uuid) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_role pg_roles;
    v_group name;
begin
    perform aos_auth._require_operator();
    select r.* into v_role from pg_roles as r where r.rolname = register_agent_role.db_role;
    if not found then
        raise exception using errcode = 'undefined_object', message = format('there is no role %I', register_agent_role.db_role),
            hint = format('CREATE ROLE %I NOLOGIN; and GRANT it what the agent''s tools may do.', register_agent_role.db_role);
    end if;
    select m.rolname into v_group
      from pg_roles as m
     where pg_has_role(v_role.oid, m.oid, 'member') and (m.rolsuper or m.rolbypassrls or m.rolcreaterole or m.rolname like 'pg\_%'
        or (m.rolname like 'pgagentos\_%' and m.rolname <> 'pgagentos_agent'))
     order by m.rolname limit 1;
    if v_group is not null or v_role.rolname = 'pgagentos_agent' then
        raise exception using errcode = 'OS001',
            message = format('the role %I cannot be an agent''s', v_role.rolname),
            detail = case when v_role.rolname = 'pgagentos_agent' then 'It is the role of all agents that name no other.'
                else format('It is, or is a member of, %I, which has rights that no model may have.', v_group) end,
            hint = 'Make a role that has only what the agent''s tools need.';
    end if;
    insert into aos_auth.agent_role (db_role, tenant_id) values (v_role.rolname, register_agent_role.tenant_id)
    on conflict on constraint agent_role_pkey do nothing;
    perform aos_auth._grant_tools(v_role.rolname);
end
$$;
comment on function aos_auth.register_agent_role(name, uuid) is
    'Lets the agents of a tenant have this database role (agent.db_role): their tools run with its rights and no others.';

create function aos_auth._grant_tools(db_role name) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('grant usage on schema aos_auth, aos_skills, aos_core to %I', _grant_tools.db_role);
    execute format('grant execute on function aos_auth.tenant_id(), aos_auth.principal_id(), aos_skills.describe_schema(text),
        aos_core.memory_store(text, text, uuid, uuid), aos_core.memory_recall(text, uuid) to %I', _grant_tools.db_role);
    perform aos_sandbox._admit(_grant_tools.db_role);
end
$$;
comment on function aos_auth._grant_tools(name) is 'Gives a role what every agent''s tools may call: the identity, the description of the tables, the session memory, what queries in the sandbox need.';
