-- The drivers that commit. A procedure that commits may neither be SECURITY DEFINER nor set a search path, so these have
-- the rights of whoever calls them, and the kernel gives its own statements the rights that they need
-- (plpy_src/pgagentos/gateways/own_transactions.py).

create function aos_agent._record_claimed(run_id uuid, new_steps json, closed_steps json, status text, waiting_reason text, error jsonb,
        agent_id uuid, used_steps integer[], fence bigint) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform aos_core._hold_claim(_record_claimed.run_id, _record_claimed.fence,
        exists (select from json_array_elements(_record_claimed.closed_steps) as c where c.value ->> 'finished_at' is not null), interval '60 seconds');
    if cardinality(_record_claimed.used_steps) > 0 then
        perform aos_agent._record_counted(_record_claimed.run_id, _record_claimed.new_steps, _record_claimed.closed_steps, _record_claimed.status,
            _record_claimed.waiting_reason, _record_claimed.error, _record_claimed.agent_id, _record_claimed.used_steps);
    else
        perform aos_core._record(_record_claimed.run_id, _record_claimed.new_steps, _record_claimed.closed_steps, _record_claimed.status,
            _record_claimed.waiting_reason, _record_claimed.error);
    end if;
end
$$;
comment on function aos_agent._record_claimed(uuid, json, json, text, text, jsonb, uuid, integer[], bigint) is
    'Does what aos_core._record and aos_agent._record_counted do, if this claim still holds. used_steps: the steps that have used tokens; null without a budget.';

create function aos_agent._record_all_claimed(records json) returns setof uuid
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_records json := _record_all_claimed.records;
    v_held uuid[];
begin
    perform from aos_agent.conversation as c
      where c.conversation_id = any (array(select g.conversation_id from json_to_recordset(v_records) as g (conversation_id uuid)))
      order by c.conversation_id
        for no key update;
    with held as (
        update aos_core.queue as q
           set lease_until = greatest(q.lease_until, aos_core._now() + interval '60 seconds'), attempt = case when g.has_progress then 0 else q.attempt end
          from json_to_recordset(v_records) as g (run_id uuid, fence bigint, has_progress boolean)
         where q.run_id = g.run_id and q.fence = g.fence and q.worker is not null and g.fence * 0 = 0  -- see aos_core._record_all
        returning q.run_id
    )
    select coalesce(array_agg(h.run_id), '{}') into v_held from held as h;
    if cardinality(v_held) < json_array_length(v_records) then
        select coalesce(json_agg(g.value), '[]') into v_records
          from json_array_elements(v_records) as g where (g.value ->> 'run_id')::uuid = any (v_held);
    end if;
    perform aos_core._record_all(v_records);
    perform aos_agent._count_usage(u.tenant_id, u.agent_id, u.tokens, u.cost)
       from (select s.tenant_id, g.agent_id, sum(coalesce(s.input_tokens, 0) + coalesce(s.output_tokens, 0)) as tokens, coalesce(sum(s.cost), 0) as cost
               from json_to_recordset(v_records) as g (run_id uuid, agent_id uuid, used_steps integer[])
               join aos_core.step as s on s.run_id = g.run_id and s.step_no = any (g.used_steps)
              where cardinality(g.used_steps) * 0 = 0
              group by s.tenant_id, g.agent_id) as u;
    return query select g.run_id from json_to_recordset(_record_all_claimed.records) as g (run_id uuid) where g.run_id <> all (v_held);
end
$$;
comment on function aos_agent._record_all_claimed(json) is
    'Does what _record_claimed does for many turns, one object each: run_id, conversation_id, fence, has_progress, agent_id, used_steps and what aos_core._record_all takes. Returns those whose claim does not hold any more, of which nothing was written.';

create procedure aos_agent.run_turn_stepwise(turn_id uuid, nowait boolean default false, ticket text default null, inout state jsonb default null)
    language plpython3u
as $$
if 'pgagentos' not in GD: plpy.execute('select aos_auth.tenant_id()')
return GD['pgagentos'](plpy, 'agent.run_turn_stepwise', turn_id, nowait, ticket, state)
$$;
comment on procedure aos_agent.run_turn_stepwise(uuid, boolean, text, jsonb) is
    'Takes a turn as far as it can go, as run_turn does, but commits before each act and after each step: what is shown is durable, and no snapshot is held while the model thinks. CALL it alone. nowait: an error at once when somebody else drives it. ticket: of whoever calls, where the login is nobody''s own.';

create procedure aos_agent.work(max_seconds integer default 55, concurrency integer default 64, inout turns integer default null)
    language plpython3u
as $$
if 'pgagentos' not in GD: plpy.execute('select aos_auth.tenant_id()')
return GD['pgagentos'](plpy, 'agent.work', max_seconds, concurrency, turns)
$$;
comment on procedure aos_agent.work(integer, integer, integer) is
    'Drives the turns of the queue, up to concurrency at a time, for max_seconds; then begins nothing more, waits for the model calls under way, and gives back what is not finished. CALL it alone. Returns how many turns have left it. See docs/queue.md.';
