do $$
declare
    v_table text;
begin
    foreach v_table in array array['agent', 'agent_skill', 'conversation', 'message'] loop
        execute format('alter table aos_agent.%I enable row level security', v_table);
        execute format('alter table aos_agent.%I force row level security', v_table);
    end loop;
    foreach v_table in array array['conversation', 'message'] loop
        execute format($policy$create policy tenant on aos_agent.%I
            using ((select aos_auth._visible_tenant()) = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']))
            with check (aos_auth._visible_tenant() = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']))$policy$, v_table);
    end loop;
    foreach v_table in array array['agent', 'agent_skill'] loop
        execute format($policy$create policy tenant on aos_agent.%I
            using (aos_auth._visible_tenant() = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']))$policy$, v_table);
    end loop;
end
$$;
-- All tickets share one login: the owner of a ticket needs the role developer besides.
create policy developer_adds on aos_agent.agent as restrictive for insert with check ((select aos_auth.has_access('developer')));
create policy developer_changes on aos_agent.agent as restrictive for update using ((select aos_auth.has_access('developer')));
create policy developer_deletes on aos_agent.agent as restrictive for delete using ((select aos_auth.has_access('developer')));

-- The tools of a conversation act for its principal (aos_auth.principal_id(), skills that need a role): nobody opens one
-- in the name of another.
create policy own_conversations on aos_agent.conversation as restrictive for insert with check (principal_id is null
    or principal_id = aos_auth.principal_id() or aos_auth._visible_tenant() = '00000000-0000-0000-0000-000000000000');
-- Nor does anybody delete it.
create policy own_conversations_deleted on aos_agent.conversation as restrictive for delete using (principal_id is null
    or principal_id = aos_auth.principal_id() or aos_auth._visible_tenant() = '00000000-0000-0000-0000-000000000000');

grant select on aos_agent.agent, aos_agent.agent_skill, aos_agent.effective_skill, aos_agent.conversation
    to pgagentos_user, pgagentos_developer, pgagentos_approver, pgagentos_worker, pgagentos_auditor, pgagentos_operator;
grant select on aos_agent.message, aos_agent.transcript, aos_agent.pending_approval
    to pgagentos_user, pgagentos_developer, pgagentos_approver, pgagentos_worker, pgagentos_operator;
grant insert, update, delete on aos_agent.agent to pgagentos_developer, pgagentos_operator;
grant insert, update, delete on aos_agent.agent_skill to pgagentos_operator;
-- Not conversation_id: an identity is always new, so nobody can take another tenant's.
grant insert (agent_id, tenant_id, principal_id, title), update (title), delete on aos_agent.conversation
    to pgagentos_user, pgagentos_developer, pgagentos_worker, pgagentos_operator;

grant execute on function aos_agent.ask(text, text, uuid), aos_agent.open_conversation(text, text), aos_agent.add_user_message(uuid, text),
        aos_agent.start_turn(uuid), aos_agent.run_turn(uuid, boolean), aos_agent.cancel_turn(uuid)
    to pgagentos_user, pgagentos_developer, pgagentos_worker, pgagentos_operator;
grant execute on function aos_agent.process_tool_call(uuid, text, jsonb, text, bigint),
        aos_agent.record_tool_result(uuid, text, jsonb, text, bigint, boolean), aos_agent.finish_turn(uuid, text, bigint)
    to pgagentos_worker, pgagentos_operator;
grant execute on function aos_agent.approve_tool_call(uuid, text), aos_agent.reject_tool_call(uuid, text)
    to pgagentos_approver, pgagentos_operator;
grant execute on function aos_agent.grant_skill(text, text, text, jsonb), aos_agent.revoke_skill(text, text) to pgagentos_developer, pgagentos_operator;
grant execute on procedure aos_agent.run_turn_stepwise(uuid, boolean, text, jsonb)
    to pgagentos_user, pgagentos_developer, pgagentos_worker, pgagentos_operator;
grant execute on procedure aos_agent.work(integer, integer, integer) to pgagentos_worker, pgagentos_operator;
