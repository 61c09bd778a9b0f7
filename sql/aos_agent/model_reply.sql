-- What an outside worker brings of a model call. The rows are those that the loop of the database writes
-- (plpy_src/pgagentos/agent/loop.py, _take_reply); tests/worker/test_same_rows.py compares them.

create function aos_agent._reply_model(run_id uuid, model text) returns uuid
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_model_id uuid;
    v_names text;
begin
    select (array_agg(m.model_id order by w.no) filter (where _reply_model.model is null
                or _reply_model.model in (m.model_id::text, m.model_name, m.wire_name)))[1], string_agg(m.model_name, ', ' order by w.no)
      into v_model_id, v_names
      from aos_core.run as r
      join aos_persona.persona_version as v on v.persona_version_id = r.persona_version_id and v.tenant_id = r.tenant_id
      cross join unnest(array[v.model_id, v.fallback_model_id]) with ordinality as w (model_id, no)
      join aos_meta.llm_model_registry as m on m.model_id = w.model_id
     where r.run_id = _reply_model.run_id;
    if v_model_id is null then
        raise exception using errcode = 'OS001', message = format('model %L is none of this turn', _reply_model.model),
            hint = format('Leave model out, or name one of: %s.', v_names);
    end if;
    return v_model_id;
end
$$;
comment on function aos_agent._reply_model(uuid, text) is
    'Which of the models of a turn is meant: the persona''s own (null) or its fallback model, by name or identity.';

create function aos_agent._usage_columns(usage jsonb, is_failed boolean default false) returns jsonb
    language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_name text;
    v_columns jsonb := jsonb '{}';
begin
    if _usage_columns.usage is null or jsonb_typeof(_usage_columns.usage) = 'null' then
        return v_columns;
    end if;
    foreach v_name in array array['input_tokens', 'cached_tokens', 'cache_write_tokens', 'output_tokens', 'reasoning_tokens'] loop
        if coalesce(_usage_columns.usage ->> v_name, '0') !~ '^\d{1,9}$' then
            raise exception using errcode = 'OS001', message = format('%s of the usage is no number of tokens', v_name),
                hint = 'usage is {"input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"}, whole numbers from 0 on.';
        end if;
        -- What a reply always has stands there as 0, too; the rest is left open when there is none of it.
        if coalesce((_usage_columns.usage ->> v_name)::integer, 0) > 0 or (not is_failed and v_name in ('input_tokens', 'output_tokens')) then
            v_columns := v_columns || jsonb_build_object(v_name, coalesce((_usage_columns.usage ->> v_name)::integer, 0));
        end if;
    end loop;
    if coalesce((v_columns ->> 'cached_tokens')::integer, 0) > coalesce((v_columns ->> 'input_tokens')::integer, 0) then
        raise exception using errcode = 'OS001', message = 'more tokens were read from the cache than the input has',
            hint = 'input_tokens are all tokens of the prompt, cached ones included.';
    end if;
    return v_columns;
end
$$;
comment on function aos_agent._usage_columns(jsonb, boolean) is 'The usage that a worker reports, as columns of aos_core.step.';

create function aos_agent._arguments_text(arguments jsonb) returns text
    language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text;
begin
    if arguments is null or jsonb_typeof(arguments) = 'null' then
        return '{}';
    elsif jsonb_typeof(arguments) <> 'string' then
        return arguments::text;
    end if;
    v_text := btrim(arguments #>> '{}', E' \t\r\n');
    if v_text = '' then
        return '{}';
    end if;
    begin
        -- jsonb refuses what json takes in and cannot give out again.
        if jsonb_typeof(v_text::jsonb) = 'object' then
            return v_text;
        end if;
    exception when data_exception or statement_too_complex or program_limit_exceeded then
        null;
    end;
    return to_json(arguments #>> '{}')::text;  -- the model's own words, which will not fit the skill's schema
end
$$;
comment on function aos_agent._arguments_text(jsonb) is
    'The arguments of a call as JSON text to be stored: of a string that holds a JSON object that object byte for byte, of any other string the string.';

create function aos_agent._error_value(error jsonb) returns jsonb
    language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_sqlstate text;
begin
    select k.sqlstate into v_sqlstate
      from (values ('authentication', 'OS101'), ('billing', 'OS102'), ('not_found', 'OS103'), ('invalid_request', 'OS104'),
                   ('context_overflow', 'OS105'), ('rate_limited', 'OS106'), ('overloaded', 'OS107'), ('server_error', 'OS108'),
                   ('timeout', 'OS109'), ('connection', 'OS110'), ('malformed_response', 'OS111'), ('abandoned', 'OS116')) as k (kind, sqlstate)
     where k.kind = error ->> 'kind';
    if not found or coalesce(error ->> 'message', '') = '' then
        raise exception using errcode = 'OS001', message = 'the error of a turn has a kind and a message',
            hint = 'Kinds: authentication, billing, not_found, invalid_request, context_overflow, rate_limited, overloaded, server_error, timeout, connection, malformed_response, abandoned.';
    elsif jsonb_typeof(coalesce(error -> 'status', 'null')) not in ('number', 'null') then
        raise exception using errcode = 'OS001', message = 'status of the error is no number', hint = 'It is the status of HTTP, or null.';
    end if;
    return jsonb_build_object('sqlstate', v_sqlstate, 'kind', error -> 'kind', 'message', error -> 'message', 'hint', error -> 'hint',
        'provider', error -> 'provider', 'status', error -> 'status', 'code', error -> 'code');
end
$$;
comment on function aos_agent._error_value(jsonb) is 'The error of a model call that a worker reports, as the rows hold it.';

create function aos_agent._failed_steps(run_id uuid, failures jsonb, first_no integer) returns jsonb
    language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return (select coalesce(jsonb_agg(jsonb_build_object('kind', 'model', 'step_no', _failed_steps.first_no + f.no - 1, 'status', 'failed',
                       'started_at', aos_agent._began_at(f.value), 'finished_at', clock_timestamp(),
                       'model_id', aos_agent._reply_model(_failed_steps.run_id, f.value ->> 'model'),
                       'attempts', coalesce(f.value -> 'attempts', '1'), 'error', aos_agent._error_value(f.value))
                       || aos_agent._usage_columns(f.value -> 'usage', true) order by f.no), '[]')
              from jsonb_array_elements(case jsonb_typeof(_failed_steps.failures) when 'array' then _failed_steps.failures else '[]' end)
                   with ordinality as f (value, no));
end
$$;
comment on function aos_agent._failed_steps(uuid, jsonb, integer) is 'New steps, one for each model that gave no usable answer.';

create function aos_agent._began_at(call jsonb) returns timestamptz
    language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    -- How long it took, not when it was: the worker's clock is another one.
    return clock_timestamp() - make_interval(secs => case when call ->> 'seconds' ~ '^\d{1,6}(\.\d+)?$' then (call ->> 'seconds')::float else 0 end);
end
$$;
comment on function aos_agent._began_at(jsonb) is 'When a model call began that a worker reports.';

create function aos_agent._record_steps(run aos_core.run, new_steps jsonb, status text, error jsonb default null) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_waiting_reason text := case when _record_steps.status not in ('completed', 'failed') then (run).waiting_reason end;
begin
    if exists (select from aos_agent.budget as b where b.tenant_id = (run).tenant_id) then
        perform aos_agent._record_counted((run).run_id, new_steps::json, '[]', _record_steps.status, v_waiting_reason, _record_steps.error,
            (select c.agent_id from aos_agent.conversation as c where c.conversation_id = (run).conversation_id),
            (select array_agg((s.value ->> 'step_no')::integer) from jsonb_array_elements(new_steps) as s where s.value ->> 'kind' = 'model'));
    else
        perform aos_core._record((run).run_id, new_steps::json, '[]', _record_steps.status, v_waiting_reason, _record_steps.error);
    end if;
end
$$;
comment on function aos_agent._record_steps(aos_core.run, jsonb, text, jsonb) is 'Records steps that an outside worker brings, and counts them where the tenant has a budget.';

create function aos_agent._reply_calls(run_id uuid, reply_no integer, tool_calls jsonb) returns table (call_id text, tool_name text, arguments text, is_renamed boolean)
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_call record;
    v_used text[] := (select coalesce(array_agg(s.call_id), '{}') from aos_core.step as s where s.run_id = _reply_calls.run_id and s.call_id is not null);
begin
    for v_call in select c.value, c.no from jsonb_array_elements(tool_calls) with ordinality as c (value, no) order by c.no loop
        tool_name := v_call.value ->> 'name';
        if coalesce(tool_name, '') = '' then
            raise exception using errcode = 'OS001', message = 'a tool call of the reply has no name',
                hint = 'tool_calls is [{"call_id", "name", "arguments"}].';
        end if;
        call_id := coalesce(nullif(v_call.value ->> 'call_id', ''), 'call_' || (reply_no + v_call.no));
        -- An id that was used before in this turn gets an end of its own.
        while call_id = any (v_used) loop
            call_id := format('%s_%s', call_id, reply_no + v_call.no);
        end loop;
        v_used := v_used || call_id;
        is_renamed := call_id is distinct from v_call.value ->> 'call_id';
        arguments := aos_agent._arguments_text(v_call.value -> 'arguments');
        return next;
    end loop;
end
$$;
comment on function aos_agent._reply_calls(uuid, integer, jsonb) is 'The calls of a reply, each with an id that is unique in the turn; is_renamed: the model''s own was not.';

create function aos_agent._shortcoming(reply jsonb) returns jsonb
    language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
    return case
        when reply ->> 'finish_reason' = 'length' then jsonb_build_object('sqlstate', 'OS112', 'kind', 'length',
            'message', 'the reply was cut off at its token limit', 'hint', 'Raise max_output_tokens in the persona''s params.')
        when reply ->> 'finish_reason' = 'content_filter' or coalesce(reply ->> 'refusal', '') <> '' then
            jsonb_build_object('sqlstate', 'OS113', 'kind', 'content_filter', 'message', 'the provider or the model refused to answer',
                'hint', 'See the step''s vendor column for the provider''s reason.')
    end;
end
$$;
comment on function aos_agent._shortcoming(jsonb) is 'What is to be known about a reply that is not whole; null when it is.';

create function aos_agent.record_model_reply(turn_id uuid, reply jsonb, usage jsonb default null, fence bigint default null) returns jsonb
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_run aos_core.run := aos_agent._external_turn(record_model_reply.turn_id, record_model_reply.fence);
    v_first_no integer;
    v_no integer;
    v_reply_no integer;
    v_key text := record_model_reply.reply ->> 'idempotency_key';
    v_is_last boolean;
    v_content text;
    v_calls jsonb := jsonb '[]';
    v_listed text;
    v_is_renamed boolean;
    v_new jsonb;
    v_call record;
    v_run_call record;
    v_error jsonb;
    v_reason text := coalesce(record_model_reply.reply ->> 'finish_reason', 'stop');
    v_status text := 'awaiting_model';
begin
    perform aos_auth._require('worker');
    if jsonb_typeof(record_model_reply.reply) is distinct from 'object'
        or jsonb_typeof(coalesce(record_model_reply.reply -> 'tool_calls', '[]')) not in ('array', 'null')
    then
        raise exception using errcode = 'OS001', message = 'a reply is an object, and its tool_calls are a list',
            hint = 'reply is {"content", "tool_calls": [{"call_id", "name", "arguments"}], "finish_reason", ...}, see docs/worker_protocol.md.';
    elsif v_reason not in ('stop', 'tool_calls', 'length', 'content_filter', 'pause', 'other') then
        raise exception using errcode = 'OS001', message = format('there is no finish_reason %L', v_reason),
            hint = 'Use stop, tool_calls, length, content_filter, pause or other.';
    end if;
    select coalesce(max(s.step_no), 0) + 1 into v_first_no from aos_core.step as s where s.run_id = v_run.run_id;
    if v_key is not null and v_key <> format('%s-%s', v_run.run_id, v_first_no) then
        if exists (select from aos_core.step as s where s.run_id = v_run.run_id and s.kind = 'model' and v_key = format('%s-%s', s.run_id, s.step_no)) then
            -- The worker did not hear that it is recorded already.
            return aos_agent._worker_state(v_run.run_id, record_model_reply.fence);
        end if;
        raise exception using errcode = 'OS003', message = format('turn %s does not wait for the reply %s', v_run.run_id, v_key),
            hint = 'Pass the idempotency_key of the payload that the model was called with.';
    elsif v_run.status <> 'awaiting_model' then
        raise exception using errcode = 'OS003', message = format('turn %s does not wait for a model, it is %s', v_run.run_id, v_run.status),
            hint = 'Record the results of its open calls first: aos_agent.record_tool_result.';
    end if;
    select v_run.model_calls + 1 >= coalesce(a.max_model_calls, (aos_meta.setting('max_model_calls') #>> '{}')::integer, 10) into strict v_is_last
      from aos_agent.conversation as c
      join aos_agent.agent as a on a.agent_id = c.agent_id and a.tenant_id = c.tenant_id
     where c.conversation_id = v_run.conversation_id;

    v_content := coalesce(nullif(record_model_reply.reply ->> 'content', ''), record_model_reply.reply ->> 'refusal', '');
    if jsonb_typeof(record_model_reply.reply -> 'tool_calls') = 'array' then
        select coalesce(jsonb_agg(to_jsonb(c)), '[]'), coalesce(bool_or(c.is_renamed), false),
               '[' || string_agg(format('{"call_id":%s,"name":%s,"arguments":%s}', to_json(c.call_id), to_json(c.tool_name), c.arguments), ',') || ']'
          into v_calls, v_is_renamed, v_listed
          from aos_agent._reply_calls(v_run.run_id, v_first_no, record_model_reply.reply -> 'tool_calls') as c;
    end if;
    v_error := aos_agent._shortcoming(record_model_reply.reply);
    if v_content !~ '\S' and v_calls = '[]' and v_error is null and v_reason <> 'pause' then
        raise exception using errcode = 'OS001', message = 'the reply is empty',
            hint = 'Ask the model once more, or give the turn up with aos_agent.fail_turn and the kind malformed_response.';
    end if;

    v_new := aos_agent._failed_steps(v_run.run_id, record_model_reply.reply -> 'wasted', v_first_no);
    v_reply_no := v_first_no + jsonb_array_length(v_new);
    v_new := v_new || (jsonb_build_object('kind', 'model', 'step_no', v_reply_no, 'status', 'completed',
        'started_at', aos_agent._began_at(record_model_reply.reply), 'finished_at', clock_timestamp(),
        'message', aos_agent._assistant_message(v_content, v_listed::json),
        -- A vendor's blocks name the calls by its own ids: they are of no use beside an id of ours.
        'vendor', case when not coalesce(v_is_renamed, false) then case jsonb_typeof(record_model_reply.reply -> 'vendor')
            when 'null' then null else record_model_reply.reply ->> 'vendor' end end,
        'model_id', aos_agent._reply_model(v_run.run_id, record_model_reply.reply ->> 'model'),
        'attempts', coalesce(nullif(record_model_reply.reply -> 'attempts', 'null'), '1'), 'error', v_error)
        || aos_agent._usage_columns(record_model_reply.usage));

    if v_calls <> '[]' and not v_is_last then
        v_no := v_reply_no;
        for v_call in select c.* from jsonb_to_recordset(v_calls) as c (call_id text, tool_name text, arguments text) loop
            v_no := v_no + 1;
            if v_reason = 'length' then
                select 'failed' as status, null::uuid as skill_id,
                       to_json(text 'This call was not run: your reply was cut off at its token limit. Call again, more briefly.') as result
                  into v_run_call;
            else
                select r.status, r.skill_id, r.result into v_run_call
                  from aos_agent._run_call(v_run.run_id, v_no, v_call.tool_name, v_call.arguments::json,
                           is_claimed => record_model_reply.fence is not null) as r;
            end if;
            if v_run_call.result is null then
                v_status := case when 'awaiting_approval' in (v_status, v_run_call.status) then 'awaiting_approval' else 'awaiting_tool' end;
            end if;
            v_new := v_new || jsonb_build_object('kind', 'tool', 'step_no', v_no, 'model_step_no', v_reply_no, 'status', v_run_call.status,
                'finished_at', case when v_run_call.result is not null then clock_timestamp() end, 'skill_id', v_run_call.skill_id,
                'call_id', v_call.call_id, 'tool_name', v_call.tool_name, 'arguments', v_call.arguments,
                'message', case when v_run_call.result is not null then
                    aos_agent._tool_message(v_call.call_id, v_run_call.result, v_run_call.status <> 'completed') end,
                'error', case when v_run_call.result is not null and v_run_call.status <> 'completed' then json_build_object('message', v_run_call.result) end);
        end loop;
        v_error := null;
    elsif v_reason = 'pause' and not v_is_last then
        v_error := null;  -- the vendor works on: it gets its own words back and continues
    elsif v_content ~ '\S' and v_calls = '[]' then
        v_status := 'completed';
        v_error := null;
    elsif v_calls <> '[]' or v_reason = 'pause' then
        v_status := 'failed';
        v_error := jsonb_build_object('sqlstate', 'OS114', 'kind', 'iteration_limit',
            'message', format('the model still wants tools after %s calls', v_run.model_calls + jsonb_array_length(v_new)),
            'hint', 'agent.max_model_calls is the limit.');
    else
        v_status := 'failed';
    end if;
    perform aos_agent._record_steps(v_run, v_new, v_status, v_error);
    perform aos_agent._spend_rate_of(v_run, aos_agent._reply_model(v_run.run_id, record_model_reply.reply ->> 'model'), record_model_reply.usage);
    return aos_agent._worker_state(v_run.run_id, record_model_reply.fence);
end
$$;
comment on function aos_agent.record_model_reply(uuid, jsonb, jsonb, bigint) is
    'An outside worker records what the model said, with its tokens. Calls of skills that live in the database are run at once. Returns how the turn stands then: completed, awaiting_tool with the calls that the worker has to run, awaiting_approval, or awaiting_model with the payload of the next call.';

grant execute on function aos_agent.record_model_reply(uuid, jsonb, jsonb, bigint) to pgagentos_worker, pgagentos_operator;
