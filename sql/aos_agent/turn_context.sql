-- What a turn needs to go on, read from its rows. These functions are PL/pgSQL, not SQL, because PL/pgSQL keeps their
-- plans for the session.

create function aos_agent._history(run_id uuid, out messages text[], out vendors text[])
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_run aos_core.run;
    v_params jsonb;
    v_context_window bigint;
    v_turns integer;
begin
    select r.* into strict v_run from aos_core.run as r where r.run_id = _history.run_id;
    select v.params, m.context_window - coalesce((v.params ->> 'max_output_tokens')::integer, m.max_output_tokens, 0)
      into strict v_params, v_context_window
      from aos_persona.persona_version as v
      join aos_meta.llm_model_registry as m on m.model_id = v.model_id
     where v.persona_version_id = v_run.persona_version_id and v.tenant_id = v_run.tenant_id;
    v_turns := case when v_params ? 'history_turns' then v_params ->> 'history_turns' else aos_meta.setting('history_turns') #>> '{}' end;

    -- Whole turns, newest first, as many as fit: a tool result is never parted from its call. Three bytes for a token
    -- is on the safe side for English (about four) and near for Korean (one syllable, three bytes, about one).
    with recent as (
        select r.run_id, r.tenant_id, r.turn_no, r.transcript_bytes
          from aos_core.run as r
         where r.conversation_id = v_run.conversation_id and r.turn_no <= v_run.turn_no
         order by r.turn_no desc
         limit v_turns + 1  -- null: no limit
    ),
    fitting as (
        select f.* from (select r.*, sum(r.transcript_bytes) over (order by r.turn_no desc) as bytes from recent as r) as f
         where f.turn_no = v_run.turn_no or f.bytes <= v_context_window * 3
    )
    select array_agg(t.message order by t.turn_no, t.step_no, t.message_no), array_agg(t.vendor order by t.turn_no, t.step_no, t.message_no)
      into messages, vendors
      from (select f.turn_no, 0 as step_no, m.message_no, '{"role":"user","content":' || to_json(m.content) || '}' as message, null as vendor
              from fitting as f
              join aos_agent.message as m on m.conversation_id = v_run.conversation_id and m.run_id = f.run_id
            union all
            select f.turn_no, s.step_no, 0, s.message::text, s.vendor::text
              from fitting as f
              join aos_core.step as s on s.run_id = f.run_id and s.tenant_id = f.tenant_id
             where s.message is not null) as t;
end
$$;
comment on function aos_agent._history(uuid) is
    'The messages that the model of a turn is shown, oldest first, in the neutral format: the last turns that fit its context window, and this turn. vendors holds the vendor''s blocks beside each.';

create function aos_agent._turn_context(run_id uuid, out run json, out agent json, out persona json, out models json, out tools json, out steps json)
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    found_turn record;
begin
    select r, a, v.system_prompt, v.params, v.model_id, v.fallback_model_id
      into found_turn
      from aos_core.run as r
      join aos_agent.conversation as c on c.conversation_id = r.conversation_id and c.tenant_id = r.tenant_id
      join aos_agent.agent as a on a.agent_id = c.agent_id and a.tenant_id = c.tenant_id
      join aos_persona.persona_version as v on v.persona_version_id = r.persona_version_id and v.tenant_id = r.tenant_id
     where r.run_id = _turn_context.run_id;
    run := row_to_json(found_turn.r);
    agent := json_build_object('agent_id', (found_turn.a).agent_id, 'name', (found_turn.a).name,
        'max_model_calls', coalesce((found_turn.a).max_model_calls, (aos_meta.setting('max_model_calls') #>> '{}')::integer),
        'max_turn_tokens', (found_turn.a).max_turn_tokens);
    persona := json_build_object('system_prompt', found_turn.system_prompt, 'params', found_turn.params);
    select json_agg(json_build_object('model_id', m.model_id, 'model_name', coalesce(m.wire_name, m.model_name),
                'context_window', m.context_window, 'max_output_tokens', m.max_output_tokens, 'capabilities', m.capabilities,
                'provider', d.provider, 'driver', coalesce(m.driver, d.driver), 'base_url', d.base_url, 'api_key_env', d.api_key_env,
                'secret_name', d.secret_name, 'carrier', d.carrier, 'options', d.options || m.options)
                order by m.model_id = found_turn.model_id desc)
      into models
      from aos_meta.llm_model_registry as m
      join aos_meta.provider as d on d.provider = m.provider
     where m.model_id in (found_turn.model_id, found_turn.fallback_model_id);
    select json_agg(json_build_object('name', e.name, 'description', e.description, 'parameters', e.parameters) order by e.name)
      into tools
      from aos_agent.effective_skill as e
     where e.agent_id = (found_turn.a).agent_id and e.tenant_id = (found_turn.a).tenant_id and e.on_call <> 'denied' and (e.implementation <> 'external' or (found_turn.r).runner = 'external');
    if (found_turn.r).model_calls > 0 then
        select json_agg(json_build_object('step_no', s.step_no, 'status', s.status, 'call_id', s.call_id, 'tool_name', s.tool_name,
                    'arguments', s.arguments, 'is_open', s.finished_at is null) order by s.step_no)
          into steps
          from aos_core.step as s
         where s.run_id = _turn_context.run_id;
    end if;
end
$$;
comment on function aos_agent._turn_context(uuid) is 'Everything but the messages that a turn needs to go on.';

create function aos_agent._lock_turn(turn_id uuid, nowait boolean default false) returns aos_core.run
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_run aos_core.run;
begin
    select r.* into v_run from aos_core.run as r where r.run_id = _lock_turn.turn_id;
    if not found then
        raise exception using errcode = 'OS002', message = format('there is no turn %s', _lock_turn.turn_id),
            hint = 'SELECT aos_agent.start_turn(conversation_id) starts one.';
    end if;
    perform aos_agent._lock_conversation(v_run.conversation_id, nowait);
    select r.* into strict v_run from aos_core.run as r where r.run_id = _lock_turn.turn_id;  -- as it is now that the lock is ours
    return v_run;
end
$$;
comment on function aos_agent._lock_turn(uuid, boolean) is 'Locks the conversation of a turn for the rest of the transaction and returns the turn as it is then.';

create function aos_agent._turn_state(turn_id uuid) returns jsonb
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_run aos_core.run;
    v_state jsonb;
    v_context record;
    v_history record;
begin
    select r.* into v_run from aos_core.run as r where r.run_id = _turn_state.turn_id;
    v_state := jsonb_build_object('status', v_run.status, 'turn_id', v_run.run_id);
    if v_run.waiting_reason is not null then
        v_state := v_state || jsonb_build_object('reason', v_run.waiting_reason);
    end if;
    if v_run.status in ('completed', 'failed', 'cancelled') then
        return v_state || jsonb_build_object(
            'answer', (select s.message ->> 'content' from aos_core.step as s
                        where s.run_id = v_run.run_id and s.kind = 'model' and s.status = 'completed' and v_run.status = 'completed'
                        order by s.step_no desc limit 1),
            'error', v_run.error, 'steps', (select count(*) from aos_core.step as s where s.run_id = v_run.run_id),
            'usage', jsonb_build_object('model_calls', v_run.model_calls, 'input_tokens', v_run.input_tokens,
                'cached_tokens', v_run.cached_tokens, 'output_tokens', v_run.output_tokens, 'cost', v_run.cost));
    elsif v_run.status in ('awaiting_approval', 'awaiting_tool') then
        return v_state || jsonb_build_object('pending',
            (select jsonb_agg(jsonb_build_object('step_id', s.step_id, 'call_id', s.call_id, 'tool_name', s.tool_name,
                        'arguments', s.arguments, 'status', s.status) order by s.step_no)
               from aos_core.step as s
              where s.run_id = v_run.run_id and s.status in ('awaiting_approval', 'awaiting_result', 'approved')));
    elsif v_run.status = 'awaiting_model' then
        select * into v_context from aos_agent._turn_context(v_run.run_id);
        select * into v_history from aos_agent._history(v_run.run_id);
        return v_state || jsonb_build_object(
            'messages', (select jsonb_agg(m.message::jsonb order by m.no) from unnest(v_history.messages) with ordinality as m (message, no)),
            -- At the last model call of the turn the tools are withheld: the model has to answer with what it has.
            'tools', case when v_run.model_calls + 1 < (v_context.agent ->> 'max_model_calls')::integer then
                coalesce((select jsonb_agg(jsonb_build_object('name', t.name, 'description', t.description, 'parameters', t.parameters))
                            from json_to_recordset(v_context.tools) as t (name text, description text, parameters jsonb)), '[]')
                else '[]' end,
            'system_prompt', v_context.persona ->> 'system_prompt',
            'model', v_context.models -> 0 ->> 'model_name',
            'provider', v_context.models -> 0 ->> 'provider',
            'params', (v_context.persona ->> 'params')::jsonb - 'history_turns');
    end if;
    return v_state;
end
$$;
comment on function aos_agent._turn_state(uuid) is
    'A turn as jsonb: its answer when it is finished, what it waits for, or the payload for an outside worker to call the model with.';
