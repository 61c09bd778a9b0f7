do $$
declare
    v_table text;
begin
    foreach v_table in array array['run', 'step', 'approval', 'cancel_request', 'event_log', 'event_log_default', 'event_head',
            'event_seal', 'session_memory', 'queue', 'queue_lane'] loop
        execute format('alter table aos_core.%I enable row level security', v_table);
        execute format('alter table aos_core.%I force row level security', v_table);
        execute format($policy$create policy tenant on aos_core.%I
            using ((select aos_auth._visible_tenant()) = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']))
            with check (aos_auth._visible_tenant() = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']))$policy$, v_table);
    end loop;
end
$$;

-- What happened is written by the kernel alone.
grant select on aos_core.run, aos_core.step, aos_core.approval, aos_core.runs, aos_core.steps
    to pgagentos_user, pgagentos_developer, pgagentos_approver, pgagentos_worker, pgagentos_operator;
grant select on aos_core.session_memory, aos_core.cancel_request to pgagentos_user, pgagentos_developer, pgagentos_operator;
grant select on aos_core.run, aos_core.runs, aos_core.approval to pgagentos_auditor;
-- Not event_head and the partitions: they are read through event_log.
grant select on aos_core.event_log, aos_core.event_seal to pgagentos_auditor, pgagentos_operator;
-- The default of the identities in rows that people insert.
grant execute on function aos_core.new_id()
    to pgagentos_user, pgagentos_developer, pgagentos_approver, pgagentos_worker, pgagentos_auditor, pgagentos_secret_manager, pgagentos_operator;
grant execute on function aos_core.check_installation() to pgagentos_developer, pgagentos_auditor, pgagentos_operator;
