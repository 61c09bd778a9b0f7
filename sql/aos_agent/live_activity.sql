-- Who is thinking now. Drivers that commit, and those outside, have their claims and open steps in rows; a turn that is
-- run by SELECT is written when its caller commits, so its backend says in a file of the kernel's what it is doing
-- (plpy_src/pgagentos/live_turns.py). application_name shows that too, but anybody may set it: it is not asked.

create function aos_agent._turns_of_backends() returns table (pid integer, backend_start bigint, turn_id uuid, conversation_id uuid,
        tenant_id uuid, agent_id uuid, step_no integer, kind text, tool_name text, step_since double precision, turn_since double precision)
    language plpython3u volatile set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'agent.turns_of_backends')
$$;
comment on function aos_agent._turns_of_backends() is
    'What the backends of the server have said of the turns that they run by SELECT, also those that are gone. backend_start: microseconds since 2000-01-01 UTC.';

create function aos_agent._live_in_transactions() returns table (turn_id uuid, conversation_id uuid, tenant_id uuid, agent_id uuid, pid integer,
        step_no integer, kind text, tool_name text, step_since timestamptz, turn_since timestamptz)
    language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant uuid := aos_auth._visible_tenant();
begin
    return query
    select b.turn_id, b.conversation_id, b.tenant_id, b.agent_id, b.pid, b.step_no, b.kind, b.tool_name, to_timestamp(b.step_since),
           to_timestamp(b.turn_since)
      from aos_agent._turns_of_backends() as b
      join pg_stat_activity as a on a.pid = b.pid
       and (extract(epoch from a.backend_start) * 1000000)::bigint - 946684800000000 = b.backend_start  -- 2000 to 1970
     where a.datname = current_database() and v_tenant = any (array[b.tenant_id, '00000000-0000-0000-0000-000000000000']);
end
$$;
comment on function aos_agent._live_in_transactions() is
    'The turns that are run by SELECT now, of the tenant that acts. Others cannot see their rows yet: row security is applied here.';

create function aos_agent._live_claims() returns table (turn_id uuid, conversation_id uuid, tenant_id uuid, agent_id uuid, driver text,
        worker text, pid integer, claimed_at timestamptz)
    language plpgsql volatile set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
begin
    -- The worker of a turn inside the database is named by the kernel: 'work 4711.1767225600000'.
    return query
    select distinct q.run_id, q.conversation_id, q.tenant_id, q.agent_id,
           case q.runner when 'external' then 'outside' else split_part(q.worker, ' ', 1) end, q.worker, p.pid, q.claimed_at
      from aos_core.queue_lane as l
      join aos_core.queue as q on q.tenant_id = l.tenant_id and q.claimed_at >= l.begins_at
     cross join lateral (select case when q.runner = 'database' then substring(q.worker from '^\w+ (\d+)\.')::integer end as pid) as p
     where l.runner is null and q.claimed_at is not null
       and case when q.runner = 'external' then q.lease_until > aos_core._now()
                else exists (select from pg_stat_activity as a where a.pid = p.pid and a.backend_start <= q.claimed_at) end;
end
$$;
comment on function aos_agent._live_claims() is 'The turns that a living worker has claimed.';

create function aos_agent.live_turns() returns table (turn_id uuid, agent_name text, driver text, worker text, pid integer, step_no integer,
        kind text, tool_name text, step_seconds numeric, turn_seconds numeric, step_since timestamptz, turn_since timestamptz,
        conversation_id uuid, tenant_id uuid)
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_now timestamptz := clock_timestamp();
begin
    return query
    with inside as materialized (
        select t.* from aos_agent._live_in_transactions() as t
    ),
    claimed as materialized (
        select c.* from aos_agent._live_claims() as c where c.turn_id not in (select i.turn_id from inside as i)
    ),
    live as (
        select i.turn_id, i.agent_id, text 'select' as driver, format('backend %s', i.pid) as worker, i.pid, i.step_no, i.kind, i.tool_name,
               i.step_since, i.turn_since, i.conversation_id, i.tenant_id
          from inside as i
         union all
        select c.turn_id, c.agent_id, c.driver, c.worker, c.pid, coalesce(o.step_no, n.step_no), coalesce(o.kind::text, 'model'), o.tool_name,
               greatest(coalesce(o.started_at, n.since), c.claimed_at), c.claimed_at, c.conversation_id, c.tenant_id
          from claimed as c
          left join lateral (
              select s.step_no, s.kind, s.tool_name, s.started_at from aos_core.step as s
               where s.run_id = c.turn_id and s.finished_at is null and s.status <> 'awaiting_approval'
               order by s.status <> 'running', s.step_no limit 1) as o on true
          -- With no step open it is the model's turn: outside nothing is written before its reply.
          cross join lateral (
              select coalesce(max(s.step_no), 0) + 1 as step_no, max(s.finished_at) as since
                from aos_core.step as s where s.run_id = c.turn_id) as n
    )
    select l.turn_id, a.name, l.driver, l.worker, l.pid, l.step_no, l.kind, l.tool_name,
           round(extract(epoch from greatest(v_now - l.step_since, interval '0'))::numeric, 1),
           round(extract(epoch from greatest(v_now - l.turn_since, interval '0'))::numeric, 1),
           l.step_since, l.turn_since, l.conversation_id, l.tenant_id
      from live as l
      left join aos_agent.agent as a on a.agent_id = l.agent_id and a.tenant_id = l.tenant_id
     order by l.step_since;
end
$$;
comment on function aos_agent.live_turns() is 'What the view aos_agent.live_activity shows.';

create view aos_agent.live_activity as
    select t.turn_id, t.agent_name, t.driver, t.worker, t.pid, t.step_no, t.kind, t.tool_name, t.step_seconds, t.turn_seconds,
           t.step_since, t.turn_since, t.conversation_id, t.tenant_id
      from aos_agent.live_turns() as t;
comment on view aos_agent.live_activity is
    'The turns that somebody drives at this moment, under every driver: who is thinking, on which step, for how long. See docs/live_activity.md.';
comment on column aos_agent.live_activity.driver is
    'select: one transaction (run_turn, ask); stepwise: run_turn_stepwise; work: a worker in the database; outside: a worker outside.';
comment on column aos_agent.live_activity.worker is 'Who drives it, as aos_agent.queue names it.';
comment on column aos_agent.live_activity.pid is 'The process of the driver, inside the database.';
comment on column aos_agent.live_activity.step_no is 'The step that is under way or, between two steps, comes next.';
comment on column aos_agent.live_activity.kind is 'What the step is: model or tool.';
comment on column aos_agent.live_activity.turn_seconds is 'For how long this driver has the turn.';
comment on column aos_agent.live_activity.turn_since is 'Since when this driver has the turn.';

create function aos_agent.channel_of(conversation_id uuid) returns text
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform aos_agent._conversation_tenant(channel_of.conversation_id);  -- raises
    return aos_core._channel(channel_of.conversation_id);
end
$$;
comment on function aos_agent.channel_of(uuid) is
    'The channel on which LISTEN hears of each step of a conversation''s turns when it is committed. See docs/live_activity.md.';

grant select on aos_agent.live_activity
    to pgagentos_user, pgagentos_developer, pgagentos_approver, pgagentos_worker, pgagentos_auditor, pgagentos_operator;
grant execute on function aos_agent.live_turns(), aos_agent.channel_of(uuid)
    to pgagentos_user, pgagentos_developer, pgagentos_approver, pgagentos_worker, pgagentos_auditor, pgagentos_operator;
