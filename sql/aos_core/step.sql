create function aos_core._log(tenant_id uuid, conversation_id uuid, run_id uuid, event_type text, detail jsonb default null) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    insert into aos_core.event_log (tenant_id, conversation_id, run_id, event_type, detail)
    values (_log.tenant_id, _log.conversation_id, _log.run_id, _log.event_type, _log.detail);
end
$$;
comment on function aos_core._log(uuid, uuid, uuid, text, jsonb) is 'Appends an event to the log.';

create function aos_core._refuse_change() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = 'OS003', message = 'the event log is append-only';
end
$$;
comment on function aos_core._refuse_change() is 'Trigger: events are never changed or deleted.';

create trigger refuse_change before update or delete on aos_core.event_log
    for each row execute function aos_core._refuse_change();
create trigger refuse_truncate before truncate on aos_core.event_log
    for each statement execute function aos_core._refuse_change();

create function aos_core._arguments_hash(arguments json) returns text
    language sql immutable set search_path = pg_catalog, pg_temp
return encode(sha256(convert_to(arguments::text, 'UTF8')), 'hex');
comment on function aos_core._arguments_hash(json) is 'SHA-256 of the arguments of a call, byte for byte.';

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

create function aos_core._record(run_id uuid, new_steps json, closed_steps json, status text,
        waiting_reason text default null, error jsonb default null) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if _record.closed_steps::text <> '[]' then
        with closed as (
            update aos_core.step as s
               set status = c.status, finished_at = c.finished_at, message = c.message::json, error = c.error
              from json_to_recordset(_record.closed_steps) as c (step_no integer, status text, finished_at timestamptz, message text, error jsonb)
             where s.run_id = _record.run_id and s.step_no = c.step_no
            returning s.message
        )
        update aos_core.run as r
           set transcript_bytes = r.transcript_bytes + (select coalesce(sum(octet_length(c.message::text)), 0) from closed as c)
         where r.run_id = _record.run_id;
    end if;
    -- message, vendor and arguments come as text inside the JSON, so that they are stored byte for byte.
    with added as (
        insert into aos_core.step (tenant_id, run_id, started_at, finished_at, step_no, model_step_no, input_tokens, cached_tokens,
            cache_write_tokens, output_tokens, reasoning_tokens, attempts, kind, status, message, model_id, skill_id, call_id, tool_name,
            arguments, cost, vendor, error)
        select r.tenant_id, r.run_id, coalesce(s.started_at, s.finished_at, clock_timestamp()), s.finished_at, s.step_no, s.model_step_no, s.input_tokens,
               s.cached_tokens, s.cache_write_tokens, s.output_tokens, s.reasoning_tokens, s.attempts, s.kind, s.status, s.message::json,
               s.model_id, s.skill_id, s.call_id, s.tool_name, s.arguments::json,
               (select aos_meta.call_cost(m, s.input_tokens, s.cached_tokens, s.cache_write_tokens, s.output_tokens)
                  from aos_meta.llm_model_registry as m where m.model_id = s.model_id),
               s.vendor::json, s.error
          from json_to_recordset(_record.new_steps) as s (started_at timestamptz, finished_at timestamptz, step_no integer,
                   model_step_no integer, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer,
                   reasoning_tokens integer, attempts integer, kind text, status text, message text, model_id uuid, skill_id uuid,
                   call_id text, tool_name text, arguments text, vendor text, error jsonb)
          join aos_core.run as r on r.run_id = _record.run_id
        returning kind, input_tokens, cached_tokens, output_tokens, cost, message
    ),
    total as (
        select count(*) filter (where a.kind = 'model')::integer as model_calls,
               coalesce(sum(a.input_tokens), 0)::integer as input_tokens,
               coalesce(sum(a.cached_tokens), 0)::integer as cached_tokens,
               coalesce(sum(a.output_tokens), 0)::integer as output_tokens,
               sum(a.cost) as cost,
               coalesce(sum(octet_length(a.message::text)), 0)::integer as bytes
          from added as a
    ),
    run as (
        update aos_core.run as r
           set status = _record.status,
               waiting_reason = _record.waiting_reason,
               error = _record.error,
               finished_at = case when _record.status in ('completed', 'failed', 'cancelled') then clock_timestamp() end,
               model_calls = r.model_calls + t.model_calls,
               input_tokens = r.input_tokens + t.input_tokens,
               cached_tokens = r.cached_tokens + t.cached_tokens,
               output_tokens = r.output_tokens + t.output_tokens,
               cost = case when t.cost is null then r.cost else coalesce(r.cost, 0) + t.cost end,
               transcript_bytes = r.transcript_bytes + t.bytes
          from total as t
         where r.run_id = _record.run_id
        returning r.tenant_id, r.conversation_id, r.run_id, r.status, r.error
    )
    insert into aos_core.event_log (tenant_id, conversation_id, run_id, event_type, detail)
    select r.tenant_id, r.conversation_id, r.run_id,
           'turn_' || r.status,
           case when r.status = 'failed' then jsonb_build_object('sqlstate', r.error -> 'sqlstate', 'kind', r.error -> 'kind') end
      from run as r
     where r.status in ('completed', 'failed', 'cancelled');

    if _record.status = 'awaiting_approval' then
        with requested as (
            insert into aos_core.approval (step_id, tenant_id, arguments_hash, expires_at)
            select s.step_id, s.tenant_id, aos_core._arguments_hash(s.arguments),
                   now() + (aos_meta.setting('approval_expires_after') #>> '{}')::interval
              from aos_core.step as s
             where s.run_id = _record.run_id and s.status = 'awaiting_approval'
            on conflict on constraint approval_pkey do nothing
            returning step_id
        )
        insert into aos_core.event_log (tenant_id, conversation_id, run_id, event_type)
        select r.tenant_id, r.conversation_id, r.run_id, 'approval_requested'
          from aos_core.run as r
         where r.run_id = _record.run_id and exists (select from requested);
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
            when r.runner = 'external' and bool_or(s.status = 'approved') then 'awaiting_tool'
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
