create function aos_agent._decide_tool_call(run_id uuid, tool_name text, arguments json,
        out decision text, out skill_id uuid, out implementation text, out reason text)
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_parameters jsonb;
    v_limits jsonb;
begin
    select e.on_call, e.skill_id, e.implementation, e.parameters, e.limits
      into decision, skill_id, implementation, v_parameters, v_limits
      from aos_core.run as r
      join aos_agent.conversation as c on c.conversation_id = r.conversation_id and c.tenant_id = r.tenant_id
      cross join lateral aos_agent._usable_skill(c.agent_id, c.tenant_id, c.principal_id) as e
     where r.run_id = _decide_tool_call.run_id and e.name = _decide_tool_call.tool_name;
    if not found then
        decision := 'unknown_tool';
        reason := format('There is no tool %s. Use only the tools that are offered.', tool_name);
    elsif decision = 'denied' then
        reason := format('The tool %s may not be used here.', tool_name);
    else
        reason := coalesce(aos_skills._argument_error(v_parameters, _decide_tool_call.arguments),
            case when v_limits is not null then aos_skills._argument_error(v_limits, _decide_tool_call.arguments) end);
        if reason is not null then
            decision := 'invalid_arguments';
        end if;
    end if;
end
$$;
comment on function aos_agent._decide_tool_call(uuid, text, json) is
    'What is to happen to a call that the model of a turn asks for: run, awaiting_approval, awaiting_result (an outside worker runs it), denied, unknown_tool or invalid_arguments, with the reason in words for the model. What happens to a known call is decided by effective_skill.on_call, for all drivers.';

create function aos_agent._tool_message(call_id text, result json, is_error boolean default false) returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    -- A JSON string is given to the model as its text, anything else as JSON.
    return '{"role":"tool","call_id":' || to_json(call_id) || ',"content":' || to_json(coalesce(result #>> '{}', 'null'))
        || case when is_error then ',"is_error":true}' else '}' end;
end
$$;
comment on function aos_agent._tool_message(text, json, boolean) is 'The result of a tool call as a message in the neutral format.';

create function aos_agent._assistant_message(content text, tool_calls json default null) returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return '{"role":"assistant","content":' || to_json(content) || coalesce(',"tool_calls":' || tool_calls, '') || '}';
end
$$;
comment on function aos_agent._assistant_message(text, json) is 'A model''s reply as a message in the neutral format.';

create function aos_agent._run_skill(run_id uuid, tool_name text, arguments json, idempotency_key text, out status text, out content text)
    language plpython3u volatile set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'agent.run_skill', run_id, tool_name, arguments, idempotency_key)
$$;
comment on function aos_agent._run_skill(uuid, text, json, text) is
    'Runs a tool call of a turn that is driven from outside, as the loop does for the turns that the database drives: with the rights of the agent''s role, in a savepoint of its own.';

create function aos_agent._run_call(run_id uuid, step_no integer, tool_name text, arguments json, approved_skill_id uuid default null,
        is_claimed boolean default false, out status text, out result json, out skill_id uuid, out decision text)
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_call record;
begin
    select * into v_call from aos_agent._decide_tool_call(_run_call.run_id, _run_call.tool_name, _run_call.arguments);
    skill_id := v_call.skill_id;
    decision := v_call.decision;
    if v_call.skill_id <> approved_skill_id then
        status := 'failed';
        result := to_json(format('The tool %s is not the one that was approved.', _run_call.tool_name));
    elsif _run_call.is_claimed and v_call.implementation = 'http' and v_call.decision = 'run'
        and not aos_skills._is_repeatable(v_call.skill_id, _run_call.arguments)
    then
        status := 'running';  -- that it begins is committed first; then the worker has it made
    elsif v_call.implementation <> 'external'
        and (v_call.decision = 'run' or (v_call.decision = 'awaiting_approval' and approved_skill_id is not null)) then
        perform pg_try_advisory_xact_lock(aos_core._turn_key(_run_call.run_id));  -- so that cancel_turn finds this session
        select r.status, to_json(r.content) into status, result
          from aos_agent._run_skill(_run_call.run_id, _run_call.tool_name, _run_call.arguments,
               format('%s-%s', _run_call.run_id, _run_call.step_no)) as r;
    elsif v_call.decision in ('awaiting_approval', 'awaiting_result') then
        status := v_call.decision;
    else
        status := case v_call.decision when 'denied' then 'rejected' else 'failed' end;
        result := to_json(v_call.reason);
    end if;
end
$$;
comment on function aos_agent._run_call(uuid, integer, text, json, uuid, boolean) is
    'Decides about a call of a turn that is driven from outside and, when its skill lives in the database and may run, runs it. approved_skill_id: the skill of a call that a person has approved. is_claimed: a worker waits for it, so a request that must not be made twice is only begun: see _hand_out. result is null while the call stays open.';

create function aos_agent._last_reply_is_open(run_id uuid) returns boolean
    language sql stable set search_path = pg_catalog, pg_temp
return coalesce((select bool_or(s.finished_at is null) from aos_core.step as s
    where s.run_id = _last_reply_is_open.run_id and s.kind = 'tool'), false);
comment on function aos_agent._last_reply_is_open(uuid) is 'Whether calls of the last model reply still wait for their end: then one more call belongs to the same reply.';

create function aos_agent._external_turn(turn_id uuid, fence bigint default null, made_progress boolean default true) returns aos_core.run
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_run aos_core.run := aos_agent._lock_turn(_external_turn.turn_id);
    v_worker text;
begin
    if fence is not null then
        perform aos_core._hold_claim(v_run.run_id, fence, made_progress, null);
    elsif v_run.status in ('completed', 'failed', 'cancelled') then
        raise exception using errcode = 'OS003', message = format('turn %s is already %s', v_run.run_id, v_run.status),
            hint = 'SELECT aos_agent.start_turn(conversation_id) starts the next one.';
    elsif v_run.is_queued and v_run.runner = 'external' then
        select q.worker into v_worker from aos_core.queue as q
         where q.run_id = v_run.run_id and q.worker is not null and q.lease_until > aos_core._now();
        if found then
            raise exception using errcode = 'OS004', message = format('turn %s is driven by worker %s', v_run.run_id, v_worker),
                hint = 'Pass the fence of your claim, or leave the turn to that worker. aos_agent.cancel_turn(turn_id) takes it away.';
        end if;
    end if;
    if v_run.runner <> 'external' then
        raise exception using errcode = 'OS003', message = format('turn %s is run by the database', v_run.run_id),
            hint = 'SELECT aos_agent.run_turn(turn_id) runs it whole; set runner = ''external'' of the agent to drive its turns from outside.';
    end if;
    return v_run;
end
$$;
comment on function aos_agent._external_turn(uuid, bigint, boolean) is
    'Locks an unfinished turn that an outside worker drives; an error for any other turn, and for whoever has not its claim. Without a fence it is an error while a living worker has claimed it.';

create function aos_agent._is_in_database(skill_id uuid) returns boolean
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (select from aos_skills.skill as k where k.skill_id = _is_in_database.skill_id and k.implementation <> 'external');
end
$$;
comment on function aos_agent._is_in_database(uuid) is 'Whether the database runs the calls of a skill; if not, a worker outside does.';

create function aos_agent._tool_call_state(step aos_core.step) returns jsonb
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object('status', case (step).status
            when 'awaiting_result' then 'approved'
            when 'running' then case when aos_agent._is_in_database((step).skill_id) then 'in_database' else 'approved' end
            when 'rejected' then 'denied'
            else (step).status end,
        'step_id', (step).step_id, 'call_id', (step).call_id)
        || case when (step).message is null then '{}' else jsonb_build_object('result', (step).message ->> 'content') end;
end
$$;
comment on function aos_agent._tool_call_state(aos_core.step) is 'A tool call as the functions for outside workers return it.';

create function aos_agent.process_tool_call(turn_id uuid, tool_name text, arguments jsonb, call_id text default null, fence bigint default null)
    returns jsonb
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_run aos_core.run := aos_agent._external_turn(process_tool_call.turn_id, process_tool_call.fence);
    v_step aos_core.step;
    v_call record;
    v_last_no integer;
    v_reply_no integer;
    v_call_id text;
    v_call_json jsonb;
    v_new json[] := array[]::json[];
    v_max_model_calls integer;
    v_is_begun boolean := false;
begin
    perform aos_auth._require('worker');
    if process_tool_call.tool_name is null or process_tool_call.arguments is null then
        raise exception using errcode = 'OS001', message = 'tool_name and arguments must not be null',
            hint = 'Pass what the model asked for; a call without arguments has ''{}''.';
    end if;
    select * into v_step from aos_core.step as s where s.run_id = v_run.run_id and s.call_id = process_tool_call.call_id;
    if found then
        -- The worker asks again about a call that is known: the answer is the same, but for what a person decided since.
        if v_step.finished_at is null then
            perform aos_agent._go_on(v_run.run_id, process_tool_call.fence);
            v_is_begun := exists (select from aos_core.step as s where s.step_id = v_step.step_id and s.status = 'running')
                and aos_agent._is_in_database(v_step.skill_id);
            if v_is_begun then
                perform aos_agent._run_open_call(v_run.run_id, v_step.step_no);
            end if;
            if process_tool_call.fence is not null then
                perform aos_agent._hand_out(v_run.run_id);
            end if;
            select * into strict v_step from aos_core.step as s where s.step_id = v_step.step_id;
        end if;
        return aos_agent._tool_call_state(v_step)
            || case when v_is_begun then aos_agent._state_after_calls(v_run.run_id, process_tool_call.fence) else '{}' end;
    end if;
    select coalesce(a.max_model_calls, (aos_meta.setting('max_model_calls') #>> '{}')::integer, 10)
      into strict v_max_model_calls
      from aos_agent.conversation as c
      join aos_agent.agent as a on a.agent_id = c.agent_id and a.tenant_id = c.tenant_id
     where c.conversation_id = v_run.conversation_id;
    select coalesce(max(s.step_no), 0), max(s.step_no) filter (where s.kind = 'model') into v_last_no, v_reply_no
      from aos_core.step as s where s.run_id = v_run.run_id;
    -- The first number that no call of this turn has: a worker may have chosen such a name itself.
    v_call_id := coalesce(process_tool_call.call_id, (
        select 'call_' || n from generate_series(v_last_no + 1, 2 * v_last_no + 1) as n
         where not exists (select from aos_core.step as s where s.run_id = v_run.run_id and s.call_id = 'call_' || n)
         order by n limit 1));
    v_call_json := jsonb_build_object('call_id', v_call_id, 'name', process_tool_call.tool_name, 'arguments', process_tool_call.arguments);

    if v_reply_no is null or not aos_agent._last_reply_is_open(v_run.run_id) then
        if aos_agent._end_over_budget(v_run.run_id) then
            return aos_agent._turn_state(v_run.run_id);
        end if;
        -- The last call is for the answer: no tools were offered with it.
        if v_run.model_calls + 1 >= v_max_model_calls then
            raise exception using errcode = 'OS003',
                message = format('turn %s has %s of its %s model calls left, for the answer', v_run.run_id,
                    greatest(v_max_model_calls - v_run.model_calls, 0), v_max_model_calls),
                hint = 'SELECT aos_agent.finish_turn(turn_id, content) with what the model knows by now; agent.max_model_calls is the limit.';
        end if;
        v_reply_no := v_last_no + 1;
        v_last_no := v_reply_no;
        v_new := v_new || json_build_object('kind', 'model', 'step_no', v_reply_no, 'status', 'completed', 'finished_at', clock_timestamp(),
            'message', aos_agent._assistant_message('', json_build_array(v_call_json)));
    else
        update aos_core.step as s
           set message = aos_agent._assistant_message(s.message ->> 'content', ((s.message -> 'tool_calls')::jsonb || v_call_json)::json)::json
         where s.run_id = v_run.run_id and s.step_no = v_reply_no;
    end if;

    select * into v_call from aos_agent._run_call(v_run.run_id, v_last_no + 1, process_tool_call.tool_name, process_tool_call.arguments::json,
        is_claimed => process_tool_call.fence is not null);
    v_new := v_new || json_build_object('kind', 'tool', 'step_no', v_last_no + 1, 'model_step_no', v_reply_no, 'status', v_call.status,
        'finished_at', case when v_call.result is not null then clock_timestamp() end, 'skill_id', v_call.skill_id, 'call_id', v_call_id,
        'tool_name', process_tool_call.tool_name, 'arguments', process_tool_call.arguments::text,
        'message', case when v_call.result is not null then aos_agent._tool_message(v_call_id, v_call.result, v_call.status <> 'completed') end,
        'error', case when v_call.status in ('failed', 'rejected') then json_build_object('message', v_call.result) end);
    perform aos_core._record(v_run.run_id, array_to_json(v_new), '[]', v_run.status, v_run.waiting_reason);
    perform aos_core._record(v_run.run_id, '[]', '[]', aos_core._next_status(v_run.run_id), v_run.waiting_reason);
    if process_tool_call.fence is not null then
        perform aos_agent._hand_out(v_run.run_id);
    end if;
    select * into strict v_step from aos_core.step as s where s.run_id = v_run.run_id and s.call_id = v_call_id;
    return aos_agent._tool_call_state(v_step) ||
        case when v_call.decision in ('denied', 'unknown_tool', 'invalid_arguments')
            then jsonb_build_object('status', v_call.decision, 'reason', v_call.result #>> '{}') else '{}' end;
end
$$;
comment on function aos_agent.process_tool_call(uuid, text, jsonb, text, bigint) is
    'An outside worker asks about a call that the model wants. status approved: run it and record_tool_result. in_database: ask once more, then it is run. completed: it has been run in the database, see result. awaiting_approval, denied, invalid_arguments, unknown_tool: as they say.';

create function aos_agent.record_tool_result(turn_id uuid, tool_name text, result jsonb, call_id text default null, fence bigint default null,
        is_error boolean default false)
    returns jsonb
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_run aos_core.run := aos_agent._external_turn(record_tool_result.turn_id, record_tool_result.fence);
    v_waiting aos_core.step[];
    v_step aos_core.step;
    v_result json := coalesce(record_tool_result.result::json, 'null');
begin
    perform aos_auth._require('worker');
    select coalesce(array_agg(s), '{}') into v_waiting
      from aos_core.step as s
     where s.run_id = v_run.run_id and s.tool_name = record_tool_result.tool_name and s.status in ('awaiting_result', 'approved', 'running')
       and (record_tool_result.call_id is null or s.call_id = record_tool_result.call_id);
    if cardinality(v_waiting) = 0 then
        if record_tool_result.fence is not null then
            -- A worker that has claimed the turn may not have heard that it is recorded already.
            select s.* into v_step from aos_core.step as s
             where s.run_id = v_run.run_id and s.call_id = record_tool_result.call_id and s.tool_name = record_tool_result.tool_name
               and s.status in ('completed', 'failed');
            if found then
                return aos_agent._recorded(v_run.run_id, v_step, record_tool_result.fence);
            end if;
        end if;
        raise exception using errcode = 'OS002',
            message = format('no call of %s waits for a result%s', record_tool_result.tool_name, ' under call_id ' || record_tool_result.call_id),
            hint = 'Announce the call with process_tool_call first; a call that waits for a person cannot have a result yet.';
    elsif cardinality(v_waiting) > 1 then
        raise exception using errcode = 'OS001',
            message = format('%s calls of %s wait for a result', cardinality(v_waiting), record_tool_result.tool_name),
            hint = 'Pass call_id, as process_tool_call returned it.';
    end if;
    v_step := v_waiting[1];
    -- What a person has approved is the skill's own function, not whatever a worker says that it returned.
    if v_step.status <> 'awaiting_result' and aos_agent._is_in_database(v_step.skill_id) then
        raise exception using errcode = 'OS003', message = format('call %s of %s is run by the database', v_step.call_id, v_step.tool_name),
            hint = case v_step.status when 'approved' then format('SELECT aos_agent.run_turn(%L) runs it, now that it is approved.', v_run.run_id)
                else 'aos_agent.process_tool_call with its call_id and your fence runs it.' end;
    end if;
    perform aos_core._record(v_run.run_id, '[]', json_build_array(json_build_object('step_no', v_step.step_no,
        'status', case when record_tool_result.is_error then 'failed' else 'completed' end, 'finished_at', clock_timestamp(),
        'message', aos_agent._tool_message(v_step.call_id, v_result, record_tool_result.is_error),
        'error', case when record_tool_result.is_error then json_build_object('message', v_result) end)),
        aos_core._next_status(v_run.run_id, v_step.step_no), v_run.waiting_reason);
    return aos_agent._recorded(v_run.run_id, v_step, record_tool_result.fence);
end
$$;
comment on function aos_agent.record_tool_result(uuid, text, jsonb, text, bigint, boolean) is
    'An outside worker reports what a tool call returned; is_error: what went wrong with it. call_id tells parallel calls of one tool apart. With a fence, and when no call is left for the worker, turn has how the turn stands then, as claim_turn returns it.';

create function aos_agent._state_after_calls(run_id uuid, fence bigint) returns jsonb
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if fence is null or exists (select from aos_core.step as s
                                 where s.run_id = _state_after_calls.run_id and s.kind = 'tool' and s.status in ('awaiting_result', 'running'))
    then
        return jsonb '{}';
    end if;
    return jsonb_build_object('turn', aos_agent._worker_state(_state_after_calls.run_id, _state_after_calls.fence));
end
$$;
comment on function aos_agent._state_after_calls(uuid, bigint) is 'How the turn stands, for a worker that has made the last of the calls that it was told of; else {}.';

create function aos_agent._recorded(run_id uuid, step aos_core.step, fence bigint) returns jsonb
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_state jsonb := aos_agent._state_after_calls(_recorded.run_id, _recorded.fence);
begin
    return (select jsonb_build_object('status', 'recorded', 'step_id', (step).step_id, 'call_id', (step).call_id, 'turn_status', r.status) || v_state
              from aos_core.run as r where r.run_id = _recorded.run_id);
end
$$;
comment on function aos_agent._recorded(uuid, aos_core.step, bigint) is 'What record_tool_result returns.';

create function aos_agent.finish_turn(turn_id uuid, content text, fence bigint default null) returns jsonb
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_run aos_core.run := aos_agent._external_turn(finish_turn.turn_id, finish_turn.fence);
    v_open text;
begin
    perform aos_auth._require('worker');
    perform aos_agent._refuse_empty(finish_turn.content);
    select string_agg(format('%s (%s)', s.tool_name, s.call_id), ', ' order by s.step_no) into v_open
      from aos_core.step as s where s.run_id = v_run.run_id and s.finished_at is null;
    if v_open is not null then
        raise exception using errcode = 'OS003', message = format('turn %s still waits for %s', v_run.run_id, v_open),
            hint = 'Record the results first, or end the turn with aos_agent.cancel_turn(turn_id).';
    end if;
    perform aos_core._record(v_run.run_id, json_build_array(json_build_object('kind', 'model', 'status', 'completed', 'finished_at', clock_timestamp(),
        'step_no', (select coalesce(max(s.step_no), 0) + 1 from aos_core.step as s where s.run_id = v_run.run_id),
        'message', aos_agent._assistant_message(finish_turn.content))), '[]', 'completed');
    return jsonb_build_object('status', 'completed', 'turn_id', v_run.run_id);
end
$$;
comment on function aos_agent.finish_turn(uuid, text, bigint) is 'An outside worker records the answer: the turn is completed.';
