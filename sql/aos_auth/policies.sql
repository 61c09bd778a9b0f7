-- Row security holds for everybody, the owner of the tables included (FORCE). The nil UUID stands for an operator, who
-- sees all tenants. On tables that grow with use the function stands in a sub-select: it is called once a statement then,
-- not once a row. On small ones, of which a turn reads one row each, the plan without the sub-select is the cheaper one.

alter table aos_auth.tenant enable row level security;
alter table aos_auth.tenant force row level security;
create policy tenant on aos_auth.tenant
    using (aos_auth._visible_tenant() = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']));
alter table aos_auth.principal enable row level security;
alter table aos_auth.principal force row level security;
create policy tenant on aos_auth.principal
    using (aos_auth._visible_tenant() = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']));
alter table aos_auth.role_grant enable row level security;
alter table aos_auth.role_grant force row level security;
create policy tenant on aos_auth.role_grant
    using (aos_auth._visible_tenant() = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']));
alter table aos_auth.agent_role enable row level security;
alter table aos_auth.agent_role force row level security;
create policy tenant on aos_auth.agent_role
    using (aos_auth._visible_tenant() = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']));

-- To find out who acts, the kernel looks up the principal of the login, before there is an identity.
create policy login on aos_auth.principal for select to pgagentos_kernel using (db_role = session_user);

grant usage on schema aos_auth, aos_meta, aos_persona, aos_skills, aos_core, aos_agent
    to pgagentos_user, pgagentos_developer, pgagentos_approver, pgagentos_worker, pgagentos_auditor, pgagentos_secret_manager, pgagentos_operator;

grant execute on function aos_auth._visible_tenant(), aos_auth.tenant_id(), aos_auth.principal_id(), aos_auth.actor(), aos_auth.has_access(text)
    to pgagentos_user, pgagentos_developer, pgagentos_approver, pgagentos_worker, pgagentos_auditor, pgagentos_secret_manager, pgagentos_operator;
grant execute on function aos_auth.grant_access(name, text), aos_auth.revoke_access(name, text), aos_auth.register_agent_role(name, uuid)
    to pgagentos_operator;

grant select on aos_auth.tenant
    to pgagentos_user, pgagentos_developer, pgagentos_approver, pgagentos_worker, pgagentos_auditor, pgagentos_secret_manager, pgagentos_operator;
grant select on aos_auth.principal, aos_auth.role, aos_auth.role_grant, aos_auth.agent_role
    to pgagentos_developer, pgagentos_approver, pgagentos_auditor, pgagentos_operator;
grant insert, update, delete on aos_auth.tenant, aos_auth.principal, aos_auth.role, aos_auth.role_grant to pgagentos_operator;
grant delete on aos_auth.agent_role to pgagentos_operator;
