alter table aos_skills.skill enable row level security;
alter table aos_skills.skill force row level security;
-- A skill without a tenant is everybody's to use and the operator's to change.
create policy tenant on aos_skills.skill
    using (tenant_id is null or aos_auth._visible_tenant() = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']))
    with check (aos_auth._visible_tenant() = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']));
create policy developer_adds on aos_skills.skill as restrictive for insert with check ((select aos_auth.has_access('developer')));
create policy developer_changes on aos_skills.skill as restrictive for update
    using (tenant_id is not null and (select aos_auth.has_access('developer'))
        or (select aos_auth._visible_tenant()) = '00000000-0000-0000-0000-000000000000');
create policy developer_deletes on aos_skills.skill as restrictive for delete
    using (tenant_id is not null and (select aos_auth.has_access('developer'))
        or (select aos_auth._visible_tenant()) = '00000000-0000-0000-0000-000000000000');

grant select on aos_skills.skill, aos_skills.role_skill, aos_skills.risk_policy
    to pgagentos_user, pgagentos_developer, pgagentos_approver, pgagentos_worker, pgagentos_auditor, pgagentos_operator;
-- Not skill_id: an identity is always new, so that no refusal tells of another tenant's.
grant insert (tenant_id, name, description, parameters, implementation, function_name, risk, approval, approver_role, needs_role, is_active),
    update (name, description, parameters, implementation, function_name, risk, approval, approver_role, needs_role, is_active), delete
    on aos_skills.skill to pgagentos_developer;
grant insert, update, delete on aos_skills.skill to pgagentos_operator;
grant insert, update, delete on aos_skills.role_skill, aos_skills.risk_policy to pgagentos_operator;
grant execute on function aos_skills.register_function(regprocedure, text, text, text, uuid, text) to pgagentos_developer, pgagentos_operator;
grant execute on function aos_skills.describe_schema(text) to pgagentos_developer, pgagentos_operator;
