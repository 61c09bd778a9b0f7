-- It belongs to aos_auth and looks at every schema, so the code is built after all of them.

create function aos_auth._access_of_roles() returns table (role_id oid, db_role name, access text, through text)
    language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select r.oid, r.rolname, a.access,
           -- The roles that it is a direct member of and that lead to the group: the group itself, or others on the way.
           string_agg(distinct g.rolname::text, ', ' order by g.rolname::text)
      from pg_roles as r
      cross join unnest(array['operator', 'secret_manager', 'approver', 'developer', 'auditor', 'worker', 'user']) as a (access)
      join pg_auth_members as m on m.member = r.oid
      join pg_roles as g on g.oid = m.roleid and pg_has_role(g.oid, 'pgagentos_' || a.access, 'member')
     where r.rolcanlogin and not r.rolsuper
     group by r.oid, r.rolname, a.access;
end;
comment on function aos_auth._access_of_roles() is 'Which role that logs in has which access, and through which of the roles that it is a member of.';

create function aos_auth._reach_of_roles() returns table (db_role name, privilege text, tenant_id uuid, through text)
    language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    -- tenant_id null: every tenant
    select r.rolname, 'everything', null::uuid, 'superuser' from pg_roles as r where r.rolsuper
    union all
    -- Who may become a superuser, or reach the files of the server, has the rights of one.
    select r.rolname, 'everything', null, 'member of ' || string_agg(s.rolname, ', ' order by s.rolname)
      from pg_roles as r
      join pg_roles as s on (s.rolsuper or s.rolname in ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program'))
           and s.oid <> r.oid and pg_has_role(r.oid, s.oid, 'member')
     where not r.rolsuper and r.rolcanlogin
     group by r.rolname
    union all
    select a.db_role, 'operator', null, a.through from aos_auth._access_of_roles() as a where a.access = 'operator'
    union all
    select a.db_role, string_agg(a.access, ', ' order by a.access), null, 'bypasses row security'
      from aos_auth._access_of_roles() as a join pg_roles as r on r.oid = a.role_id and r.rolbypassrls
     group by a.db_role
    union all
    select a.db_role, string_agg(a.access, ', ' order by a.access), p.tenant_id, format('principal %s', coalesce(p.display_name, p.principal_id::text))
      from aos_auth._access_of_roles() as a
      join aos_auth.principal as p on p.db_role = a.db_role and p.is_active
      join aos_auth.tenant as t on t.tenant_id = p.tenant_id and t.is_active
     group by a.db_role, p.tenant_id, p.principal_id, p.display_name
    union all
    select a.db_role, string_agg(a.access, ', ' order by a.access), null, 'tickets signed with ' || k.key_ids
      from aos_auth._access_of_roles() as a
      join (select string_agg(k.key_id, ', ' order by k.key_id) as key_ids
              from aos_auth.ticket_key as k where k.not_after is null or k.not_after > now()) as k on k.key_ids is not null
     where not exists (select from aos_auth._access_of_roles() as o where o.role_id = a.role_id and o.access = 'operator')
     group by a.db_role, k.key_ids;
end;
comment on function aos_auth._reach_of_roles() is 'Which role can act in which tenant (null: in every one), with which accesses, and how.';

create function aos_auth._tables_of_agents() returns table (db_role name, object text, privilege text, tenant_id uuid, through text)
    language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    with agents as (
        select r.oid, r.rolname, a.tenant_id
          from pg_roles as r
          join (select g.db_role, g.tenant_id from aos_auth.agent_role as g union all select 'pgagentos_agent', null) as a on a.db_role = r.rolname
    ),
    relation as (
        select c.oid, c.relowner, c.relnamespace, format('%I.%I', n.nspname, c.relname) as named, c.relrowsecurity,
               coalesce(c.relacl, acldefault('r', c.relowner)) as acl
          from pg_class as c
          join pg_namespace as n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^(pg_|aos_)' and n.nspname <> 'information_schema'
    ),
    -- of the whole table, or of some of its columns
    granted as (
        select r.oid, x.privilege_type, x.grantee from relation as r cross join aclexplode(r.acl) as x
        union
        select r.oid, x.privilege_type, x.grantee
          from relation as r
          join pg_attribute as t on t.attrelid = r.oid and t.attnum > 0 and not t.attisdropped and t.attacl is not null
          cross join aclexplode(t.attacl) as x
    )
    select a.rolname, r.named, g.privilege_type, a.tenant_id,
           string_agg(distinct case when g.grantee = 0 then 'PUBLIC' else pg_get_userbyid(g.grantee)::text end, ', ')
               || case when r.relrowsecurity and r.relowner <> a.oid then ', under row security' else '' end
      from agents as a
      join relation as r on has_schema_privilege(a.oid, r.relnamespace, 'usage')
      join granted as g on g.oid = r.oid and (g.grantee = 0 or pg_has_role(a.oid, g.grantee, 'usage'))
     where g.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
     group by a.rolname, a.oid, a.tenant_id, r.named, r.relowner, r.relrowsecurity, g.privilege_type;
end;
comment on function aos_auth._tables_of_agents() is 'What the roles that tools run as may do with tables outside of pgAgentOS and PostgreSQL itself.';

create function aos_auth.access_report()
    returns table (db_role name, kind text, object text, privilege text, tenant text, through text)
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform aos_auth._require('auditor');
    return query
    select f.db_role, f.kind, f.object, f.privilege, t.name, f.through
      from (
        select r.db_role, 'tenant' as kind, coalesce((select n.name from aos_auth.tenant as n where n.tenant_id = r.tenant_id), 'every tenant') as object,
               r.privilege, r.tenant_id, r.through
          from aos_auth._reach_of_roles() as r
        union all
        -- Who can act in a tenant can have its turns use its secrets; values are shown to nobody.
        select r.db_role, 'secret', s.name, p.privilege, coalesce(r.tenant_id, s.tenant_id), r.through
          from aos_auth._reach_of_roles() as r
          join aos_meta.secret as s
            on r.tenant_id is null or s.tenant_id = r.tenant_id
            or s.tenant_id is null and (s.available_to = 'all'
               or exists (select from aos_meta.secret_grant as g where g.secret_id = s.secret_id and g.tenant_id = r.tenant_id))
          join (values ('use in turns'), ('set')) as p (privilege)
            on p.privilege = 'use in turns' and r.privilege ~ 'everything|operator|user|developer|worker'
            or p.privilege = 'set' and (r.privilege ~ 'everything|operator' or r.privilege ~ 'secret_manager' and s.tenant_id is not null)
        union all
        select case e.implementation when 'external' then 'pgagentos_worker' when 'http' then 'pgagentos_kernel' else coalesce(a.db_role, 'pgagentos_agent') end,
               'skill', e.name, case e.on_call when 'awaiting_approval' then 'run after approval' when 'denied' then 'refused' else 'run' end,
               e.tenant_id, format('agent %s', a.name)
          from aos_agent.effective_skill as e
          join aos_agent.agent as a on a.agent_id = e.agent_id and a.tenant_id = e.tenant_id
        union all
        select g.db_role, 'table', g.object, g.privilege, g.tenant_id, g.through from aos_auth._tables_of_agents() as g
        union all
        select coalesce(a.db_role, 'pgagentos_agent'), 'table',
               format('%I.%s', q.schema_name, case when q.table_name is null then '*' else quote_ident(q.table_name) end)
                   || coalesce(' (' || array_to_string(q.columns, ', ') || ')', ''),
               'SELECT by sql_query, where granted', q.tenant_id, format('agent %s', a.name)
          from aos_agent.sql_access as q
          join aos_agent.agent as a on a.agent_id = q.agent_id and a.tenant_id = q.tenant_id
        union all
        select 'pgagentos_kernel', 'host', format('%s://%s:%s', h.scheme, h.host, h.port), 'call', h.tenant_id,
               coalesce((select format('skill %s', s.name) from aos_skills.skill as s where s.skill_id = h.skill_id), 'every http skill')
          from aos_skills.http_host as h
        union all
        select 'pgagentos_kernel', 'host', h.host, 'be sent a secret', s.tenant_id, format('secret %s', s.name)
          from aos_meta.secret as s cross join unnest(s.hosts) as h (host)
        union all
        select 'pgagentos_kernel', 'host', substring(p.base_url from '^[a-z]+://[^/]+'), 'call', null, format('provider %s', p.provider)
          from aos_meta.provider as p
      ) as f (db_role, kind, object, privilege, tenant_id, through)
      left join aos_auth.tenant as t on t.tenant_id = f.tenant_id
     order by array_position(array['tenant', 'secret', 'skill', 'table', 'host'], f.kind), f.db_role, f.object, f.privilege, t.name, f.through;
end
$$;
comment on function aos_auth.access_report() is
    'Who reaches what: which database role which tenant, secret, skill, table and host, with which privilege, and through what. tenant null: every tenant''s. An auditor sees it for his own tenant.';

grant execute on function aos_auth.access_report() to pgagentos_auditor, pgagentos_operator;
