-- Calls that a worker outside has begun, and how they are gone on with. That a call begins is committed before the worker
-- hears of it: so whoever takes over its turn knows which calls may have taken effect.

create function aos_agent._hand_out(run_id uuid) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_begun json := (select json_agg(json_build_object('step_no', s.step_no, 'status', 'running', 'started_at', clock_timestamp()) order by s.step_no)
                       from aos_core.step as s
                      where s.run_id = _hand_out.run_id and s.kind = 'tool' and s.status in ('approved', 'awaiting_result'));
begin
    if v_begun is not null then
        perform aos_core._record(r.run_id, '[]', v_begun, r.status, r.waiting_reason) from aos_core.run as r where r.run_id = _hand_out.run_id;
    end if;
end
$$;
comment on function aos_agent._hand_out(uuid) is 'Writes down that the calls of a turn which are to be made outside begin now: its worker is told of them next. The turn is locked and claimed.';

create function aos_agent._doubt_calls(run_id uuid) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_doubted json := (select json_agg(json_build_object('step_no', s.step_no, 'status', 'awaiting_approval', 'error', json_build_object(
                                  'kind', 'outcome_unknown', 'message', 'it is not known whether this call has taken effect',
                                  'hint', 'Approve it to make the call once more, reject it to leave it at that.')) order by s.step_no)
                         from aos_core.step as s
                        where s.run_id = _doubt_calls.run_id and s.kind = 'tool' and s.status = 'running'
                          and not aos_skills._is_repeatable(s.skill_id, s.arguments));
begin
    if v_doubted is not null then
        perform aos_core._record(r.run_id, '[]', v_doubted, 'awaiting_approval', r.waiting_reason)
           from aos_core.run as r where r.run_id = _doubt_calls.run_id;
    end if;
end
$$;
comment on function aos_agent._doubt_calls(uuid) is
    'Of the calls that a worker had begun which is not there any more: a person decides about those that must not be made twice. The turn is locked.';

create function aos_agent._is_claimed(run_id uuid) returns boolean
    language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (select from aos_core.queue as q where q.run_id = _is_claimed.run_id and q.worker is not null and q.lease_until > aos_core._now());
end
$$;
comment on function aos_agent._is_claimed(uuid) is 'Whether a living worker has the turn.';

create function aos_agent._run_open_call(run_id uuid, step_no integer) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_step record;
    v_call record;
begin
    select s.call_id, s.tool_name, s.arguments, r.status as turn_status, r.waiting_reason, a.step_id is not null as was_asked,
           case when a.decision = 'approved' and a.arguments_hash = aos_core._arguments_hash(s.arguments)
                    and a.skill_hash is not distinct from aos_core._skill_hash(s.skill_id) then s.skill_id end as approved_skill_id
      into strict v_step
      from aos_core.step as s
      join aos_core.run as r on r.run_id = s.run_id and r.tenant_id = s.tenant_id
      left join aos_core.approval as a on a.step_id = s.step_id and a.tenant_id = s.tenant_id
     where s.run_id = _run_open_call.run_id and s.step_no = _run_open_call.step_no;
    if v_step.was_asked and v_step.approved_skill_id is null then
        select 'rejected' as status, to_json(text 'Nobody approved this call with these arguments.') as result into v_call;
    else
        select * into v_call from aos_agent._run_call(_run_open_call.run_id, _run_open_call.step_no, v_step.tool_name, v_step.arguments,
            v_step.approved_skill_id);
    end if;
    if v_call.result is null then  -- what is done with such calls was changed since
        perform aos_core._record(_run_open_call.run_id, '[]', json_build_array(json_build_object('step_no', _run_open_call.step_no,
            'status', v_call.status)), v_step.turn_status, v_step.waiting_reason);
        perform aos_core._record(_run_open_call.run_id, '[]', '[]', aos_core._next_status(_run_open_call.run_id), v_step.waiting_reason);
        return;
    end if;
    perform aos_core._record(_run_open_call.run_id, '[]', json_build_array(json_build_object('step_no', _run_open_call.step_no,
        'status', v_call.status, 'finished_at', clock_timestamp(),
        'message', aos_agent._tool_message(v_step.call_id, v_call.result, v_call.status <> 'completed'),
        'error', case when v_call.status in ('failed', 'rejected') then json_build_object('message', v_call.result) end)),
        aos_core._next_status(_run_open_call.run_id, _run_open_call.step_no), v_step.waiting_reason);
end
$$;
comment on function aos_agent._run_open_call(uuid, integer) is
    'Runs a call of a turn that is driven from outside, whose skill lives in the database, and records its result. Where a person was asked, exactly what was approved. The turn is locked.';
