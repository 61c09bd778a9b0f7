create function aos_agent._fail(run_id uuid, error jsonb) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    update aos_core.approval as a set decision = 'cancelled', decided_at = clock_timestamp(), decided_by = aos_auth.actor()
      from aos_core.step as s
     where s.run_id = _fail.run_id and a.step_id = s.step_id and a.tenant_id = s.tenant_id and a.decision is null;
    perform aos_core._record(_fail.run_id, '[]',
        (select coalesce(json_agg(json_build_object('step_no', s.step_no, 'status', case when s.status = 'running' or s.kind = 'model' then 'failed' else 'cancelled' end,
                    'finished_at', clock_timestamp(), 'error', case when s.status = 'running' or s.kind = 'model' then coalesce(s.error, _fail.error) end,
                    'message', case s.kind when 'tool' then
                        aos_agent._tool_message(s.call_id, '"The turn failed before this call ended."', true) end)), '[]')
           from aos_core.step as s where s.run_id = _fail.run_id and s.finished_at is null), 'failed', null, _fail.error);
end
$$;
comment on function aos_agent._fail(uuid, jsonb) is 'Closes the open steps of a turn and ends the turn as failed. The conversation is locked.';
