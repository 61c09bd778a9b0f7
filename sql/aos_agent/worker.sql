-- What an outside worker does with a turn besides the cycle of tool_call.sql: claim, heartbeat, failure, give back. The
-- contract is docs/worker_protocol.md. Lock order: see sql/aos_core/queue.sql.

create function aos_agent._spend_rate_of(run aos_core.run, model_id uuid, usage jsonb) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_columns jsonb := aos_agent._usage_columns(usage);
    v_tokens integer := coalesce((v_columns ->> 'input_tokens')::integer, 0) + coalesce((v_columns ->> 'output_tokens')::integer, 0);
begin
    if v_tokens > 0 then
        perform aos_core._spend_rate(m.provider, (run).tenant_id, v_tokens)
           from aos_meta.llm_model_registry as m where m.model_id = _spend_rate_of.model_id;
    end if;
end
$$;
comment on function aos_agent._spend_rate_of(aos_core.run, uuid, jsonb) is 'Counts what a call of a model has used against the tokens a minute of its provider and its tenant.';

create function aos_agent._model_payload(context aos_agent.turn_context) returns jsonb
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_last boolean := (context).model_calls + 1 >= (context).max_model_calls;
    v_model json := (context).models -> 0;
    v_tools jsonb;
begin
    select coalesce(jsonb_agg(jsonb_build_object('name', t.name, 'description', t.description, 'parameters', t.parameters)), '[]') into v_tools
      from json_to_recordset((context).skills) as t (name text, description text, parameters jsonb, on_call text)
     where t.on_call <> 'denied';
    -- The members of run_turn, and what a call needs besides.
    return jsonb_build_object(
        'messages', (select jsonb_agg(m.message::jsonb order by m.no) from unnest((context).messages) with ordinality as m (message, no)),
        -- At the last model call of the turn the tools are withheld: the model has to answer with what it has.
        'tools', case when v_is_last then '[]' else v_tools end,
        'system_prompt', (context).system_prompt,
        'model', v_model ->> 'model_name',
        'provider', v_model ->> 'provider',
        'params', (context).params - 'history_turns')
        || jsonb_build_object(
        'wire_name', v_model ->> 'model_name', 'driver', v_model ->> 'driver', 'base_url', v_model ->> 'base_url',
        'api_key_env', v_model ->> 'api_key_env', 'options', v_model -> 'options', 'capabilities', v_model -> 'capabilities',
        'idempotency_key', format('%s-%s', (context).run_id,
            (select coalesce(max(s.step_no), 0) + 1 from aos_core.step as s where s.run_id = (context).run_id)),
        'tool_choice', case when v_is_last and v_tools <> '[]' then 'none' else 'auto' end,
        'withheld_tools', case when v_is_last then v_tools else '[]' end,
        'note', case when v_is_last then 'You have no tool calls left in this turn. Answer now with what you know.' end,
        -- As text: jsonb would lose the order of the members and the form of numbers.
        'stored', (select coalesce(jsonb_agg(jsonb_build_object('no', m.no - 1, 'message', m.message, 'vendor', m.vendor) order by m.no), '[]')
                     from unnest((context).messages, (context).vendors) with ordinality as m (message, vendor, no)
                    where m.vendor is not null or m.message like '{"role":"assistant"%"tool_calls":%'),
        'models', (select jsonb_agg(jsonb_build_object('model_id', m.value -> 'model_id', 'wire_name', m.value -> 'model_name',
                              'provider', m.value -> 'provider', 'driver', m.value -> 'driver', 'base_url', m.value -> 'base_url',
                              'api_key_env', m.value -> 'api_key_env', 'options', m.value -> 'options',
                              'needs_key', m.value ->> 'secret_name' is not null or m.value ->> 'api_key_env' is not null,
                              'capabilities', jsonb_build_object('context_window', m.value -> 'context_window')
                                  || case when m.value ->> 'max_output_tokens' is null then '{}'
                                          else jsonb_build_object('max_output_tokens', m.value -> 'max_output_tokens') end
                                  || (m.value -> 'capabilities')::jsonb) order by m.no)
                     from json_array_elements((context).models) with ordinality as m (value, no)));
end
$$;
comment on function aos_agent._model_payload(aos_agent.turn_context) is 'All that an outside worker needs to call the model of a turn.';

create function aos_agent._worker_state(run_id uuid, fence bigint) returns jsonb
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_run aos_core.run;
    v_context aos_agent.turn_context;
    v_wait interval;
    v_state jsonb;
    v_claim record;
begin
    perform aos_agent._go_on(_worker_state.run_id, _worker_state.fence);
    select r.* into strict v_run from aos_core.run as r where r.run_id = _worker_state.run_id;
    if v_run.status = 'awaiting_model' then
        select c.* into strict v_context from aos_agent.turn_context as c where c.run_id = _worker_state.run_id;
        if v_context.used_tokens >= v_context.max_turn_tokens then
            perform aos_core._record(v_run.run_id, '[]', '[]', 'failed', null, jsonb_build_object('sqlstate', 'OS114', 'kind', 'token_limit',
                'message', format('the turn has used %s of %s tokens', v_context.used_tokens, v_context.max_turn_tokens),
                'hint', 'agent.max_turn_tokens is the limit.'));
        elsif not aos_agent._end_over_budget(v_run.run_id) then
            if fence is not null then
                v_wait := aos_core._take_rate(v_context.models -> 0 ->> 'provider', v_run.tenant_id);
                if v_wait is not null then
                    perform aos_core._give_back(v_run.run_id, fence, null, v_wait);
                    return jsonb_build_object('status', 'queued', 'turn_id', v_run.run_id, 'reason', 'the requests or tokens of this minute are used up');
                end if;
            end if;
            v_state := jsonb_build_object('status', v_run.status, 'turn_id', v_run.run_id, 'reason', v_run.waiting_reason)
                || aos_agent._model_payload(v_context);
        end if;
    end if;
    if fence is not null and v_run.status in ('awaiting_tool', 'awaiting_approval') then
        perform aos_agent._hand_out(v_run.run_id);
    end if;
    v_state := coalesce(v_state, aos_agent._turn_state(v_run.run_id));
    if v_state ? 'pending' then
        v_state := v_state || jsonb_build_object('pending', (
            select jsonb_agg(p.value || jsonb_build_object('idempotency_key', format('%s-%s', s.run_id, s.step_no))
                       || case when s.status <> 'running' then '{}'
                               else jsonb_build_object('status', case when k.implementation <> 'external' then 'in_database' else 'awaiting_result' end) end
                       || case when k.implementation = 'http' then jsonb_build_object('http', aos_skills._http_call(k.skill_id, s.tenant_id)) else '{}' end
                       order by p.no)
              from jsonb_array_elements(v_state -> 'pending') with ordinality as p (value, no)
              join aos_core.step as s on s.step_id = (p.value ->> 'step_id')::uuid
              left join aos_skills.skill as k on k.skill_id = s.skill_id));
    end if;
    select a.name, q.lease_until into v_claim
      from aos_core.queue as q
      join aos_agent.agent as a on a.agent_id = q.agent_id and a.tenant_id = q.tenant_id
     where q.run_id = v_run.run_id and q.fence = _worker_state.fence and q.worker is not null;
    if not found then
        return v_state;
    elsif v_state ? 'pending' and not jsonb_path_exists(v_state, '$.pending[*] ? (@.status != "awaiting_approval")') then
        -- Nothing is left for the worker: people decide now, and their word lets the turn go on.
        perform aos_core._give_back(v_run.run_id, fence);
        return v_state;
    end if;
    return v_state || jsonb_build_object('fence', fence, 'lease_until', v_claim.lease_until, 'agent', v_claim.name,
        'conversation_id', v_run.conversation_id);
end
$$;
comment on function aos_agent._worker_state(uuid, bigint) is
    'A turn as the functions for workers return it. A limit of tokens or money may end it here, and a rate limit may put it off. fence is in it while the claim goes on.';

create function aos_agent.claim_turn(worker text, lease interval default '60 seconds') returns jsonb
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_claim record;
    v_state jsonb;
begin
    perform aos_auth._require('worker');
    -- A turn may turn out to need no worker: an approved call has run, a budget has ended it. Then the next one.
    for v_round in 1 .. 20 loop
        select c.run_id, c.fence into v_claim from aos_core._claim(claim_turn.worker, 'external', 1, claim_turn.lease, false) as c;
        exit when not found;
        begin
            perform aos_agent._doubt_calls(v_claim.run_id);
            v_state := aos_agent._worker_state(v_claim.run_id, v_claim.fence);
            if v_state ? 'fence' then
                return v_state;
            end if;
        exception when others then
            if sqlstate like '40%' then
                raise;  -- the whole transaction has to start again
            end if;
            -- One turn that nobody can be given, because it is too long for instance, keeps no worker from the others.
            perform aos_core._give_back(v_claim.run_id, v_claim.fence,
                jsonb_build_object('kind', 'driver', 'sqlstate', sqlstate, 'message', sqlerrm));
        end;
    end loop;
    return null;
end
$$;
comment on function aos_agent.claim_turn(text, interval) is
    'Claims the next turn for an outside worker: what run_turn returns of it, with fence, lease_until and all that a model call needs. Null when none waits. worker: a name that no other worker has.';

create function aos_agent.extend_claim(turn_id uuid, fence bigint, lease interval default '60 seconds') returns jsonb
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform aos_auth._require('worker');
    perform aos_core._refuse_claim('-', extend_claim.lease);
    perform aos_core._hold_claim(extend_claim.turn_id, extend_claim.fence, false, extend_claim.lease);
    return (select jsonb_build_object('status', 'claimed', 'lease_until', q.lease_until) from aos_core.queue as q where q.run_id = extend_claim.turn_id);
end
$$;
comment on function aos_agent.extend_claim(uuid, bigint, interval) is
    'The heartbeat of an outside worker: keeps a claim for another lease. OS006 when it is lost: the turn was cancelled, or another worker drives it.';

create function aos_agent.release_turn(turn_id uuid, fence bigint) returns jsonb
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform aos_auth._require('worker');
    return jsonb_build_object('status', aos_core._give_back(release_turn.turn_id, release_turn.fence), 'turn_id', release_turn.turn_id);
end
$$;
comment on function aos_agent.release_turn(uuid, bigint) is
    'An outside worker gives a claim back before the turn is over, for example because it is told to stop. Nothing is held against the turn; another worker goes on with it.';

create function aos_agent.fail_turn(turn_id uuid, error jsonb, fence bigint default null) returns jsonb
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_run aos_core.run := aos_agent._external_turn(fail_turn.turn_id, fail_turn.fence, made_progress => false);
    v_error jsonb := aos_agent._error_value(fail_turn.error);
    v_is_abandoned constant boolean := fail_turn.error ->> 'kind' = 'abandoned';
    v_is_retried boolean;
    v_is_over boolean;
    v_failures jsonb;
    v_retry_after interval;
begin
    perform aos_auth._require('worker');
    v_is_retried := fail_turn.fence is not null
        and fail_turn.error ->> 'kind' in ('rate_limited', 'overloaded', 'server_error', 'timeout', 'connection', 'malformed_response', 'abandoned');
    v_is_over := not v_is_retried or (select q.attempt + 1 >= (aos_meta.setting('queue_max_attempts') #>> '{}')::integer
                                        from aos_core.queue as q where q.run_id = v_run.run_id);
    if v_run.status = 'awaiting_model' then
        -- A step for each model that was asked in vain: of those that will be asked again, only where it has cost something.
        select jsonb_agg(f.value order by f.no) into v_failures
          from jsonb_array_elements(case jsonb_typeof(fail_turn.error -> 'wasted') when 'array' then fail_turn.error -> 'wasted' else '[]' end
                   || case when v_is_abandoned then '[]' else jsonb_build_array(fail_turn.error - 'wasted') end) with ordinality as f (value, no)
         where v_is_over or aos_agent._usage_columns(f.value -> 'usage', true) <> '{}';
        v_failures := aos_agent._failed_steps(v_run.run_id, v_failures,
            (select coalesce(max(s.step_no), 0) + 1 from aos_core.step as s where s.run_id = v_run.run_id));
    end if;
    if v_is_retried then
        if jsonb_array_length(v_failures) > 0 then
            perform aos_agent._record_steps(v_run, v_failures, v_run.status);
        end if;
        if fail_turn.error ->> 'retry_after' ~ '^\d{1,6}(\.\d+)?$' then
            v_retry_after := make_interval(secs => (fail_turn.error ->> 'retry_after')::float);
        end if;
        if aos_core._give_back(v_run.run_id, fail_turn.fence, v_error, v_retry_after) = 'queued' then
            return (select jsonb_build_object('status', 'queued', 'turn_id', q.run_id, 'run_after', q.run_after) from aos_core.queue as q
                     where q.run_id = v_run.run_id);
        end if;
    else
        -- Calls that are open get their end: what is finished has no open step.
        perform aos_agent._record_steps(v_run, coalesce(v_failures, '[]'), v_run.status);
        perform aos_agent._fail(v_run.run_id, v_error);
    end if;
    return aos_agent._turn_state(v_run.run_id);
end
$$;
comment on function aos_agent.fail_turn(uuid, jsonb, bigint) is
    'An outside worker could not get an answer. error: {"kind", "message", "hint", "provider", "status", "code", "retry_after"}. A claimed turn with an error that may pass goes back into the queue, with a longer wait each time, and in the end becomes a dead letter; any other fails now.';

grant execute on function aos_agent.claim_turn(text, interval), aos_agent.extend_claim(uuid, bigint, interval),
        aos_agent.release_turn(uuid, bigint), aos_agent.fail_turn(uuid, jsonb, bigint)
    to pgagentos_worker, pgagentos_operator;
