create function aos_agent._require_approver(step aos_core.step) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_role text := (select k.approver_role from aos_skills.skill as k where k.skill_id = (step).skill_id);
begin
    if aos_auth._identity_source() = 'turn' then
        raise exception using errcode = 'insufficient_privilege', message = 'a turn cannot decide about tool calls',
            hint = 'A tool that its model called is no person: decide in a session of your own.';
    end if;
    perform aos_auth._require('approver');
    if v_role is null or aos_auth._identity_source() = 'operator' then
        return;
    end if;
    if not exists (select from aos_auth.role_grant as g
                    where g.principal_id = (select aos_auth.principal_id()) and g.role_name = v_role
                      and (g.expires_at is null or g.expires_at > now())) then
        raise exception using errcode = 'insufficient_privilege',
            message = format('calls of %s are approved by the role %s, which you have not', (step).tool_name, v_role),
            hint = 'INSERT INTO aos_auth.role_grant (principal_id, tenant_id, role_name) ... gives it to a principal.';
    end if;
end
$$;
comment on function aos_agent._require_approver(aos_core.step) is
    'Raises an error unless the one who acts may decide about this call: no turn itself, access approver, and the role that its skill names.';

create function aos_agent._decide_approval(step_id uuid, decision text, note text) returns jsonb
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_run aos_core.run;
    v_step aos_core.step;
    v_approval aos_core.approval;
    v_decision text := _decide_approval.decision;
    v_status text;
begin
    select s.* into v_step from aos_core.step as s where s.step_id = _decide_approval.step_id;
    if not found then
        raise exception using errcode = 'OS002', message = format('there is no tool call %s', coalesce(_decide_approval.step_id::text, 'NULL')),
            hint = 'SELECT * FROM aos_agent.pending_approval lists the calls that wait for a person.';
    end if;
    if _decide_approval.decision <> 'expired' then
        perform aos_agent._require_approver(v_step);
    end if;
    v_run := aos_agent._lock_turn(v_step.run_id);
    select a.* into v_approval from aos_core.approval as a where a.step_id = _decide_approval.step_id for update;
    select s.* into strict v_step from aos_core.step as s where s.step_id = _decide_approval.step_id;
    if v_approval.decision is not null or v_step.status <> 'awaiting_approval' then
        raise exception using errcode = 'OS003',
            message = format('tool call %s does not wait for a person, it is %s', v_step.step_id, coalesce(v_approval.decision, v_step.status)),
            hint = 'SELECT * FROM aos_agent.pending_approval lists the calls that do.';
    elsif v_decision = 'approved' and v_approval.arguments_hash <> aos_core._arguments_hash(v_step.arguments) then
        raise exception using errcode = 'OS003', message = format('the arguments of tool call %s were changed since it was asked about', v_step.step_id),
            hint = 'Reject it: a changed call needs a question of its own.';
    elsif v_approval.expires_at <= clock_timestamp() then  -- not when the transaction began, which may wait as long as it likes
        v_decision := 'expired';
    end if;
    update aos_core.approval as a
       set decision = v_decision, decided_at = clock_timestamp(), decided_by = aos_auth.actor(), note = _decide_approval.note
     where a.step_id = v_step.step_id;
    if v_decision = 'approved' then
        update aos_core.step as s set status = 'approved' where s.step_id = v_step.step_id;
        v_status := aos_core._next_status(v_run.run_id);
        perform aos_core._record(v_run.run_id, '[]', '[]', v_status, v_run.waiting_reason);
    else
        v_status := aos_core._next_status(v_run.run_id, v_step.step_no);
        perform aos_core._record(v_run.run_id, '[]', json_build_array(json_build_object('step_no', v_step.step_no, 'status', 'rejected',
            'finished_at', clock_timestamp(), 'message', aos_agent._tool_message(v_step.call_id, to_json(case v_decision
                when 'expired' then 'Nobody approved this call in time.'
                else case v_step.error ->> 'kind' when 'outcome_unknown'
                    then 'It is not known whether this call has taken effect; a person decided not to make it once more.'
                    else 'A person refused this call.' end || coalesce(' Reason: ' || _decide_approval.note, '') end), true))), v_status,
            v_run.waiting_reason);
    end if;
    perform aos_core._log(v_run.tenant_id, v_run.conversation_id, v_run.run_id, 'approval_decided',
        jsonb_build_object('step_id', v_step.step_id, 'decision', v_decision, 'arguments_hash', v_approval.arguments_hash));
    if v_run.is_queued and v_status <> 'awaiting_approval' then
        perform aos_core._wait(q.run_id, aos_core._now()) from aos_core.queue as q where q.run_id = v_run.run_id and q.worker is null;
    end if;
    return jsonb_build_object('status', v_decision, 'step_id', v_step.step_id, 'turn_id', v_run.run_id, 'turn_status', v_status);
end
$$;
comment on function aos_agent._decide_approval(uuid, text, text) is 'Writes a person''s decision about a tool call down, once.';

create function aos_agent.approve_tool_call(step_id uuid, note text default null) returns jsonb
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return aos_agent._decide_approval(step_id, 'approved', note);
end
$$;
comment on function aos_agent.approve_tool_call(uuid, text) is
    'A person''s yes to exactly this tool call; run_turn then goes on. status is expired when it came too late.';

create function aos_agent.reject_tool_call(step_id uuid, reason text default null) returns jsonb
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return aos_agent._decide_approval(step_id, 'rejected', reason);
end
$$;
comment on function aos_agent.reject_tool_call(uuid, text) is
    'A person''s no to a tool call: the model is told, with the reason; run_turn then goes on.';

create function aos_agent._go_on(turn_id uuid, fence bigint default null) returns text
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_claimed boolean := _go_on.fence is not null or aos_agent._is_claimed(_go_on.turn_id);
    v_step record;
begin
    if not v_is_claimed then
        perform aos_agent._doubt_calls(_go_on.turn_id);
    end if;
    for v_step in
        select s.step_id
          from aos_core.step as s
          join aos_core.approval as a on a.step_id = s.step_id and a.tenant_id = s.tenant_id
         where s.run_id = _go_on.turn_id and s.status = 'awaiting_approval' and a.decision is null and a.expires_at <= clock_timestamp()
         order by s.step_no
    loop
        perform aos_agent._decide_approval(v_step.step_id, 'expired', null);
    end loop;
    for v_step in
        select s.step_no
          from aos_core.step as s
          join aos_core.run as r on r.run_id = s.run_id and r.tenant_id = s.tenant_id
          join aos_skills.skill as k on k.skill_id = s.skill_id
         where s.run_id = _go_on.turn_id and s.status = 'approved' and r.runner = 'external' and k.implementation <> 'external'
           -- That a request begins which must not be made twice is committed first: its worker has it made.
           and not (v_is_claimed and k.implementation = 'http' and not aos_skills._is_repeatable(s.skill_id, s.arguments))
         order by s.step_no
    loop
        perform aos_agent._run_open_call(_go_on.turn_id, v_step.step_no);
    end loop;
    return (select r.status from aos_core.run as r where r.run_id = _go_on.turn_id);
end
$$;
comment on function aos_agent._go_on(uuid, bigint) is
    'What a waiting turn can do by itself: approvals that came too late expire, approved calls of a turn that is driven from outside run when their skill lives in the database, and those that a lost worker had begun are doubted. fence: of the worker that asks. Returns the status. The turn is locked.';

create view aos_agent.pending_approval as
    select s.step_id, g.name as agent_name, s.tool_name, s.arguments, a.requested_at, a.expires_at, s.run_id as turn_id,
           c.conversation_id, c.tenant_id
      from aos_core.approval as a
      join aos_core.step as s on s.step_id = a.step_id and s.tenant_id = a.tenant_id
      join aos_core.run as r on r.run_id = s.run_id and r.tenant_id = s.tenant_id
      join aos_agent.conversation as c on c.conversation_id = r.conversation_id and c.tenant_id = r.tenant_id
      join aos_agent.agent as g on g.agent_id = c.agent_id and g.tenant_id = c.tenant_id
     where a.decision is null and s.status = 'awaiting_approval';
comment on view aos_agent.pending_approval is 'The tool calls that wait for a person, for approve_tool_call and reject_tool_call.';
