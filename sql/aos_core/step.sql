create function aos_core._arguments_hash(arguments json) returns text
    language sql immutable set search_path = pg_catalog, pg_temp
return encode(sha256(convert_to(arguments::text, 'UTF8')), 'hex');
comment on function aos_core._arguments_hash(json) is 'SHA-256 of the arguments of a call, byte for byte.';

create function aos_core._skill_hash(skill_id uuid) returns text
    language sql stable set search_path = pg_catalog, pg_temp
return (select encode(sha256(convert_to(concat_ws(' ', k.implementation, k.function_name), 'UTF8')), 'hex')
          from aos_skills.skill as k where k.skill_id = _skill_hash.skill_id);
comment on function aos_core._skill_hash(uuid) is 'SHA-256 of what a skill runs: its implementation and its function.';

create function aos_core._refuse_other_call() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = 'OS003', message = 'what a model asked for never changes',
        hint = 'A person''s yes is for exactly one call; another call is another step.';
end
$$;
comment on function aos_core._refuse_other_call() is 'Trigger: the tool and the arguments of a call are kept as the model gave them.';

create trigger refuse_other_call before update on aos_core.step for each row
    when ((old.run_id, old.tool_name, old.call_id, old.skill_id, old.arguments::text)
        is distinct from (new.run_id, new.tool_name, new.call_id, new.skill_id, new.arguments::text))
    execute function aos_core._refuse_other_call();

create function aos_core._channel(conversation_id uuid) returns text
    language sql immutable strict parallel safe
return 'pgagentos_' || replace(conversation_id::text, '-', '');
comment on function aos_core._channel(uuid) is 'Where it is told that a turn of a conversation went on.';

create function aos_core._record_all(records json) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := clock_timestamp();
    v_ended uuid[];
    v_changes text[];
    v_channels text[];
begin
    -- message, vendor and arguments come as text inside the JSON, so that they are stored byte for byte.
    with given as materialized (
        select g.*, g.status in ('completed', 'failed', 'cancelled') as is_final,
               case when g.status = 'failed' then jsonb_build_object('sqlstate', g.error -> 'sqlstate', 'kind', g.error -> 'kind') end as detail
          from json_to_recordset(_record_all.records) as g (run_id uuid, new_steps json, closed_steps json, status text, waiting_reason text,
                   error jsonb, actor text)
         -- Always so. It makes the planner expect one row, and therefore look each turn and step up by its key, however
         -- little it knows of the tables when the session makes the plan. (Here and twice below.)
         where octet_length(g.status) * 0 = 0
    ),
    closed as (
        update aos_core.step as s
           set status = c.status, started_at = coalesce(c.started_at, s.started_at), finished_at = c.finished_at, message = c.message::json,
               error = c.error, model_id = coalesce(c.model_id, s.model_id), attempts = coalesce(c.attempts, s.attempts),
               input_tokens = c.input_tokens, cached_tokens = c.cached_tokens, cache_write_tokens = c.cache_write_tokens,
               output_tokens = c.output_tokens, reasoning_tokens = c.reasoning_tokens, vendor = c.vendor::json,
               cost = (select aos_meta.call_cost(m, c.input_tokens, c.cached_tokens, c.cache_write_tokens, c.output_tokens)
                         from aos_meta.llm_model_registry as m where m.model_id = c.model_id)
          from given as g
         cross join lateral json_to_recordset(g.closed_steps) as c (step_no integer, status text, started_at timestamptz, finished_at timestamptz,
                   message text, error jsonb, model_id uuid, attempts integer, input_tokens integer, cached_tokens integer,
                   cache_write_tokens integer, output_tokens integer, reasoning_tokens integer, vendor text)
         where s.run_id = g.run_id and s.step_no = c.step_no and c.step_no * 0 = 0
        returning s.run_id, s.step_no, s.kind, s.status, s.finished_at, s.input_tokens, s.cached_tokens, s.output_tokens, s.cost, octet_length(s.message::text) as bytes
    ),
    added as (
        insert into aos_core.step (tenant_id, run_id, started_at, finished_at, step_no, model_step_no, input_tokens, cached_tokens,
            cache_write_tokens, output_tokens, reasoning_tokens, attempts, kind, status, message, model_id, skill_id, call_id, tool_name,
            arguments, cost, vendor, error)
        select r.tenant_id, r.run_id, coalesce(s.started_at, s.finished_at, clock_timestamp()), s.finished_at, s.step_no, s.model_step_no, s.input_tokens,
               s.cached_tokens, s.cache_write_tokens, s.output_tokens, s.reasoning_tokens, s.attempts, s.kind, s.status, s.message::json,
               s.model_id, s.skill_id, s.call_id, s.tool_name, s.arguments::json,
               (select aos_meta.call_cost(m, s.input_tokens, s.cached_tokens, s.cache_write_tokens, s.output_tokens)
                  from aos_meta.llm_model_registry as m where m.model_id = s.model_id),
               s.vendor::json, s.error
          from given as g
         cross join lateral json_to_recordset(g.new_steps) as s (started_at timestamptz, finished_at timestamptz, step_no integer,
                   model_step_no integer, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer,
                   reasoning_tokens integer, attempts integer, kind text, status text, message text, model_id uuid, skill_id uuid,
                   call_id text, tool_name text, arguments text, vendor text, error jsonb)
          join aos_core.run as r on r.run_id = g.run_id
         where s.step_no * 0 = 0
        returning run_id, step_no, kind, status, finished_at, input_tokens, cached_tokens, output_tokens, cost, octet_length(message::text) as bytes
    ),
    total as materialized (
        select a.run_id, count(*) filter (where a.kind = 'model' and a.finished_at is not null)::integer as model_calls,
               coalesce(sum(a.input_tokens), 0)::integer as input_tokens,
               coalesce(sum(a.cached_tokens), 0)::integer as cached_tokens,
               coalesce(sum(a.output_tokens), 0)::integer as output_tokens,
               sum(a.cost) as cost,
               coalesce(sum(a.bytes), 0)::integer as bytes,
               (array_agg(concat_ws(' ', a.step_no, a.kind, a.status) order by a.status = 'pending', a.step_no desc))[1] as last_step
          from (select * from closed union all select * from added) as a
         group by a.run_id
    ),
    run as (
        update aos_core.run as r
           set status = g.status,
               waiting_reason = g.waiting_reason,
               error = g.error,
               finished_at = case when g.is_final then v_now end,
               model_calls = r.model_calls + coalesce(t.model_calls, 0),
               input_tokens = r.input_tokens + coalesce(t.input_tokens, 0),
               cached_tokens = r.cached_tokens + coalesce(t.cached_tokens, 0),
               output_tokens = r.output_tokens + coalesce(t.output_tokens, 0),
               cost = case when t.cost is null then r.cost else coalesce(r.cost, 0) + t.cost end,
               transcript_bytes = r.transcript_bytes + coalesce(t.bytes, 0),
               event_no = case when g.is_final then r.event_no + 1 else r.event_no end,
               event_hash = case when g.is_final
                   then aos_core._event_hash(r.event_hash, r.event_no + 1, v_now, r.conversation_id, r.tenant_id, r.run_id,
                       'turn_' || g.status, g.actor, g.detail)
                   else r.event_hash end
          from given as g
          left join total as t on t.run_id = g.run_id
         where r.run_id = g.run_id
        returning r.tenant_id, r.conversation_id, r.run_id, r.event_no, r.event_hash, r.is_queued, r.runner, g.status, g.actor, g.detail,
                  g.is_final, t.last_step
    ),
    ended as (
        insert into aos_core.event_log (created_at, event_no, chain_id, tenant_id, run_id, event_type, actor, detail, hash)
        select v_now, r.event_no, r.conversation_id, r.tenant_id, r.run_id, 'turn_' || r.status, r.actor, r.detail, r.event_hash
          from run as r
         where r.is_final
    )
    select array_agg(r.run_id) filter (where r.is_final),
           array_agg(json_build_object('turn_id', r.run_id, 'conversation_id', r.conversation_id, 'status', r.status,
               'step_no', split_part(r.last_step, ' ', 1)::integer, 'kind', split_part(r.last_step, ' ', 2),
               'step_status', split_part(r.last_step, ' ', 3))::text),
           array_agg(aos_core._channel(r.conversation_id))
      into v_ended, v_changes, v_channels
      from run as r where r.is_queued or r.runner = 'external';
    if v_changes is not null then
        -- Whoever listens may be of another tenant: ids and words of the kernel, nothing else.
        perform pg_notify('pgagentos_turn', c.change), pg_notify(c.channel, c.change) from unnest(v_changes, v_channels) as c (change, channel);
    end if;
    if v_ended is not null then
        delete from aos_core.queue as q where q.run_id = any (v_ended) and q.died_at is null;  -- a dead letter stays
    end if;
end
$$;
comment on function aos_core._record_all(json) is
    'Writes what happened in turns, one object each: run_id, new_steps, closed_steps, status, waiting_reason, error, actor. See _record. Of turns that others can see step by step it tells who listens: on the channel pgagentos_turn, and on that of the conversation.';

create function aos_core._record(run_id uuid, new_steps json, closed_steps json, status text,
        waiting_reason text default null, error jsonb default null) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_detail jsonb;
begin
    perform aos_core._record_all(json_build_array(json_build_object('run_id', _record.run_id, 'new_steps', _record.new_steps,
        'closed_steps', _record.closed_steps, 'status', _record.status, 'waiting_reason', _record.waiting_reason, 'error', _record.error,
        'actor', aos_auth.actor())));
    if _record.status = 'awaiting_approval' then
        with requested as (
            insert into aos_core.approval (step_id, tenant_id, arguments_hash, skill_hash, expires_at)
            select s.step_id, s.tenant_id, aos_core._arguments_hash(s.arguments), aos_core._skill_hash(s.skill_id),
                   now() + (aos_meta.setting('approval_expires_after') #>> '{}')::interval
              from aos_core.step as s
             where s.run_id = _record.run_id and s.status = 'awaiting_approval'
            -- A call of which it is not known what became of it needs another yes.
            on conflict on constraint approval_pkey do update
               set requested_at = excluded.requested_at, expires_at = excluded.expires_at, skill_hash = excluded.skill_hash,
                   decision = null, decided_at = null, decided_by = null, note = null
             where approval.decision is not null
            returning step_id
        )
        select jsonb_build_object('step_ids', jsonb_agg(q.step_id order by q.step_id)) into v_detail from requested as q having count(*) > 0;
        if v_detail is not null then
            perform aos_core._log(r.tenant_id, r.conversation_id, r.run_id, 'approval_requested', v_detail)
               from aos_core.run as r where r.run_id = _record.run_id;
        end if;
        -- Whoever drove it is through with it, unless calls are left that need no person.
        perform aos_core._wait(r.run_id, aos_core._expires_first(r.run_id))
           from aos_core.run as r
          where r.run_id = _record.run_id and r.is_queued
            and not exists (select from aos_core.step as s
                             where s.run_id = r.run_id and s.finished_at is null and s.status <> 'awaiting_approval');
    end if;
end
$$;
comment on function aos_core._record(uuid, json, json, text, text, jsonb) is
    'Writes what happened in a turn: new steps, steps that came to their end, and the status of the turn that follows from them. All drivers record through it.';

create function aos_core._next_status(run_id uuid, besides integer default null) returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return (select case
            when bool_or(s.status = 'awaiting_approval') then 'awaiting_approval'
            when bool_or(s.status = 'awaiting_result') then 'awaiting_tool'
            when r.runner = 'external' and bool_or(s.status in ('approved', 'running')) then 'awaiting_tool'
            when r.runner = 'external' then 'awaiting_model'
            else 'queued'
        end
      from aos_core.run as r
      left join aos_core.step as s on s.run_id = r.run_id and s.tenant_id = r.tenant_id and s.step_no is distinct from besides
     where r.run_id = _next_status.run_id
     group by r.run_id, r.runner);
end
$$;
comment on function aos_core._next_status(uuid, integer) is 'What an unfinished turn waits for, by its open steps; besides: the step that is just coming to its end.';
