-- Functions of their own: what only some turns need is no part of the plan that every turn starts.
create function aos_agent._steps_of(run_id uuid) returns json
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return (select json_agg(json_build_object('step_no', s.step_no, 'status', s.status, 'attempts', s.attempts, 'call_id', s.call_id, 'tool_name', s.tool_name, 'skill_id', s.skill_id,
                       'arguments', s.arguments::text, 'is_open', s.finished_at is null,
                       'is_approved', case when s.status = 'approved' then exists (
                           select from aos_core.approval as p where p.step_id = s.step_id and p.decision = 'approved'
                              and p.arguments_hash = aos_core._arguments_hash(s.arguments)
                              and p.skill_hash is not distinct from aos_core._skill_hash(s.skill_id)) end,
                       'is_repeatable', case when s.status = 'running' and s.kind = 'tool' then aos_skills._is_repeatable(s.skill_id, s.arguments) end)
                       order by s.step_no)
              from aos_core.step as s
             where s.run_id = _steps_of.run_id);
end
$$;
comment on function aos_agent._steps_of(uuid) is 'The steps of a turn that was begun before; is_approved: a person said yes to exactly this function with these arguments; is_repeatable: of a request that was begun.';

create view aos_agent.turn_context as
    select r.run_id, r.tenant_id, r.conversation_id, c.agent_id, c.principal_id, coalesce(a.db_role, 'pgagentos_agent') as tool_role,
           (select p.oid from pg_roles as p where p.rolname = coalesce(a.db_role, 'pgagentos_agent') and not p.rolsuper and not p.rolbypassrls)
               as tool_role_id, concat(session_user, '/' || c.principal_id) as actor, r.runner, r.status, r.model_calls,
           r.input_tokens + r.output_tokens as used_tokens,
           coalesce(a.max_model_calls, (select (s.value #>> '{}')::integer from aos_meta.setting as s where s.name = 'max_model_calls'), 10)
               as max_model_calls,
           a.max_turn_tokens,
           coalesce((select (s.value #>> '{}')::double precision from aos_meta.setting as s where s.name = 'function_deadline_seconds'), 120)
               as function_deadline_seconds,
           v.system_prompt, v.params, m.models, t.skills, h.messages, h.vendors,
           case when r.model_calls > 0 or r.status = 'running' or r.is_queued then aos_agent._steps_of(r.run_id) end as steps,
           case when exists (select from aos_agent.budget as b where b.tenant_id = r.tenant_id) then
               aos_agent._budgets_of(r.tenant_id, a.agent_id, a.name, r.conversation_id, v.model_id, v.fallback_model_id,
                   r.input_tokens + r.output_tokens, r.cost) end as budgets
      from aos_core.run as r
      join aos_agent.conversation as c on c.conversation_id = r.conversation_id and c.tenant_id = r.tenant_id
      join aos_agent.agent as a on a.agent_id = c.agent_id and a.tenant_id = c.tenant_id
      join aos_persona.persona_version as v on v.persona_version_id = r.persona_version_id and v.tenant_id = r.tenant_id
      cross join lateral (
          select json_agg(json_build_object('model_id', m.model_id, 'model_name', coalesce(m.wire_name, m.model_name),
                     'context_window', m.context_window, 'max_output_tokens', m.max_output_tokens, 'capabilities', m.capabilities,
                     'provider', d.provider, 'driver', coalesce(m.driver, d.driver), 'base_url', d.base_url, 'api_key_env', d.api_key_env, 'secret_name', d.secret_name,
                     'carrier', d.carrier,
                     'prices', case when m.input_price is not null and m.output_price is not null then json_build_array(m.input_price,
                         coalesce(m.cached_input_price, m.input_price), coalesce(m.cache_write_price, m.input_price), m.output_price) end,
                     'options', d.options || m.options) order by m.model_id = v.model_id desc) as models,
                 -- Three bytes for a token is on the safe side for English (about four) and near for Korean (one
                 -- syllable, three bytes, about one token).
                 min((m.context_window - coalesce((v.params ->> 'max_output_tokens')::integer, m.max_output_tokens, 0))::bigint * 3) as bytes
            from unnest(array[v.model_id, v.fallback_model_id]) as w (model_id)
           cross join lateral (select m.* from aos_meta.llm_model_registry as m where m.model_id = w.model_id offset 0) as m
           cross join lateral (select d.* from aos_meta.provider as d where d.provider = m.provider offset 0) as d) as m
      cross join lateral (
          select json_agg(json_build_object('name', e.name, 'description', e.description, 'parameters', e.parameters,
                     'limits', e.limits, 'skill_id', e.skill_id, 'implementation', e.implementation,
                     'function_name', e.function_name, 'on_call', e.on_call) order by e.name) as skills
            from aos_agent._usable_skill(a.agent_id, a.tenant_id, c.principal_id) as e
           where e.implementation <> 'external' or r.runner = 'external') as t
      -- Whole turns, newest first, as many as fit: a tool result is never parted from its call.
      cross join lateral (
          select array_agg(s.message order by s.turn_no, s.step_no, s.message_no) as messages,
                 array_agg(s.vendor order by s.turn_no, s.step_no, s.message_no) as vendors
            from (select w.run_id, w.turn_no, sum(w.transcript_bytes) over (order by w.turn_no desc) as bytes
                    from (select e.run_id, e.turn_no, e.transcript_bytes
                            from aos_core.run as e
                           where e.conversation_id = r.conversation_id and e.turn_no <= r.turn_no
                           order by e.turn_no desc
                           limit (case when v.params ? 'history_turns' then v.params ->> 'history_turns'
                                       else (select s.value #>> '{}' from aos_meta.setting as s where s.name = 'history_turns') end)::integer + 1
                         ) as w) as e
            cross join lateral (
                select e.turn_no, 0 as step_no, u.message_no, '{"role":"user","content":' || to_json(u.content) || '}' as message, null as vendor
                  from aos_agent.message as u
                 where u.conversation_id = r.conversation_id and u.run_id = e.run_id
                union all
                select e.turn_no, s.step_no, 0, s.message::text, s.vendor::text
                  from aos_core.step as s
                 where s.run_id = e.run_id and s.message is not null) as s
           where e.turn_no = r.turn_no or e.bytes <= m.bytes) as h;
comment on view aos_agent.turn_context is
    'Everything that a turn needs to go on, for one run_id. messages: what its model is shown, oldest first, in the neutral format: the last turns that fit its context window, and this turn; vendors: the vendor''s blocks beside each.';

create function aos_agent._read_turns(run_ids uuid[]) returns setof aos_agent.turn_context
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    -- One by one inside, however many they are said to be.
    return query
    select c.*
      from unnest(_read_turns.run_ids) as i (run_id)
     cross join lateral (select c.* from aos_agent.turn_context as c where c.run_id = i.run_id offset 0) as c;
end
$$;
comment on function aos_agent._read_turns(uuid[]) is
    'The contexts of turns, by a plan that is made once a session (see sql/tail.sql); many at once cost less than half.';

create function aos_agent._ask(agent_name text, content text, conversation_id uuid) returns setof aos_agent.turn_context
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_run_id uuid := aos_agent._start_turn(coalesce(_ask.conversation_id, aos_agent.open_conversation(_ask.agent_name)), _ask.content, _ask.agent_name);
begin
    return query select c.* from aos_agent.turn_context as c where c.run_id = v_run_id;
end
$$;
comment on function aos_agent._ask(text, text, uuid) is
    'Starts a turn on one new message, in a new conversation when none is given, and returns its context.';

create function aos_agent._lock_turn(turn_id uuid, nowait boolean default false) returns aos_core.run
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_run aos_core.run;
begin
    select r.* into v_run from aos_core.run as r where r.run_id = _lock_turn.turn_id;
    if not found then
        raise exception using errcode = 'OS002', message = format('there is no turn %s', coalesce(_lock_turn.turn_id::text, 'NULL')),
            hint = 'SELECT aos_agent.start_turn(conversation_id) starts one. What another session has started, also by ask, is there when it has committed.';
    end if;
    perform aos_agent._lock_conversation(v_run.conversation_id, nowait);
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
        -- The snapshot may show the turn as it was before another session took it on. A lock on the row makes that a
        -- serialization failure here, not after a model was called once more.
        perform from aos_core.run as r where r.run_id = _lock_turn.turn_id for no key update;
    end if;
    select r.* into v_run from aos_core.run as r where r.run_id = _lock_turn.turn_id;  -- as it is now that the lock is ours
    if not found then
        raise exception using errcode = 'OS002', message = format('turn %s was deleted a moment ago', _lock_turn.turn_id),
            hint = 'Its conversation is gone, by hand or because its time was over.';
    end if;
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
begin
    select r.* into v_run from aos_core.run as r where r.run_id = _turn_state.turn_id;
    v_state := jsonb_build_object('status', v_run.status, 'turn_id', v_run.run_id);
    if v_run.waiting_reason is not null then
        v_state := v_state || jsonb_build_object('reason', v_run.waiting_reason);
    end if;
    if v_run.status in ('completed', 'failed', 'cancelled') then
        return v_state || case v_run.status when 'failed' then jsonb_build_object('error', v_run.error) else '{}' end
            || jsonb_build_object(
            'answer', (select s.message ->> 'content' from aos_core.step as s
                        where s.run_id = v_run.run_id and s.kind = 'model' and s.status = 'completed' and v_run.status = 'completed'
                        order by s.step_no desc limit 1),
            'steps', (select count(*) from aos_core.step as s where s.run_id = v_run.run_id),
            'usage', jsonb_build_object('model_calls', v_run.model_calls, 'input_tokens', v_run.input_tokens,
                'cached_tokens', v_run.cached_tokens, 'output_tokens', v_run.output_tokens, 'cost', v_run.cost));
    elsif v_run.status in ('awaiting_approval', 'awaiting_tool') then
        return v_state || jsonb_build_object('pending',
            (select jsonb_agg(jsonb_build_object('step_id', s.step_id, 'call_id', s.call_id, 'tool_name', s.tool_name,
                        'arguments', s.arguments, 'status', s.status) order by s.step_no)
               from aos_core.step as s
              where s.run_id = v_run.run_id and (s.status in ('awaiting_approval', 'awaiting_result', 'approved') or (s.status = 'running' and v_run.runner = 'external'))));
    elsif v_run.status = 'awaiting_model' then
        select * into v_context from aos_agent.turn_context as c where c.run_id = v_run.run_id;
        return v_state || jsonb_build_object(
            'messages', (select jsonb_agg(m.message::jsonb order by m.no) from unnest(v_context.messages) with ordinality as m (message, no)),
            -- At the last model call of the turn the tools are withheld: the model has to answer with what it has.
            'tools', case when v_run.model_calls + 1 < v_context.max_model_calls then
                (select coalesce(jsonb_agg(jsonb_build_object('name', t.name, 'description', t.description, 'parameters', t.parameters)), '[]')
                   from json_to_recordset(v_context.skills) as t (name text, description text, parameters jsonb, on_call text)
                  where t.on_call <> 'denied') else '[]' end,
            'system_prompt', v_context.system_prompt,
            'model', v_context.models -> 0 ->> 'model_name',
            'provider', v_context.models -> 0 ->> 'provider',
            'params', v_context.params - 'history_turns');
    end if;
    return v_state;
end
$$;
comment on function aos_agent._turn_state(uuid) is
    'A turn as jsonb: its answer when it is finished, what it waits for, or the payload for an outside worker to call the model with.';
