alter table aos_persona.persona enable row level security;
alter table aos_persona.persona force row level security;
create policy tenant on aos_persona.persona
    using (aos_auth._visible_tenant() = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']));
-- All tickets share one login: the owner of a ticket needs the role developer besides.
create policy developer_adds on aos_persona.persona as restrictive for insert with check ((select aos_auth.has_access('developer')));
create policy developer_changes on aos_persona.persona as restrictive for update using ((select aos_auth.has_access('developer')));
create policy developer_deletes on aos_persona.persona as restrictive for delete using ((select aos_auth.has_access('developer')));
alter table aos_persona.persona_version enable row level security;
alter table aos_persona.persona_version force row level security;
create policy tenant on aos_persona.persona_version
    using (aos_auth._visible_tenant() = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']));

grant select, insert, update, delete on aos_persona.persona to pgagentos_developer, pgagentos_operator;
grant select on aos_persona.persona_version to pgagentos_developer, pgagentos_operator;
grant execute on function aos_persona.compose_prompt(text, jsonb, text[]) to pgagentos_developer, pgagentos_operator;
