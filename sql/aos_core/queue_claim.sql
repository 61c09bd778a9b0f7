-- Claiming. A claim never waits for a row: it passes over turns that somebody else has locked, whose conversation is
-- locked (it is being cancelled, or run by a session), or whose advisory lock is taken.

create function aos_core._refuse_claim(worker text, lease interval) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(_refuse_claim.worker, '') = '' then
        raise exception using errcode = 'OS001', message = 'a worker needs a name', hint = 'One that no other worker has.';
    elsif (_refuse_claim.lease > interval '0') is not true then
        raise exception using errcode = 'OS001', message = 'the lease has to be longer than nothing',
            hint = 'It is the time after which others take over a turn whose worker says nothing any more, for example ''60 seconds''.';
    elsif current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception using errcode = 'OS003',
            message = format('turns are not claimed at the isolation level %s', current_setting('transaction_isolation')),
            hint = 'A claim has to see what was committed a moment ago: use READ COMMITTED.';
    end if;
end
$$;
comment on function aos_core._refuse_claim(text, interval) is 'Raises an error unless a worker of this name may claim turns for so long here.';

create function aos_core._claimed_count(tenant_id uuid, agent_id uuid default null) returns integer
    language plpgsql stable set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
begin
    return (select count(*)
              from (select from aos_core.queue as q
                     where q.claimed_at is not null and q.tenant_id = _claimed_count.tenant_id
                       and (_claimed_count.agent_id is null or q.agent_id = _claimed_count.agent_id)
                       and q.claimed_at >= (select min(l.begins_at) from aos_core.queue_lane as l
                                             where l.tenant_id = _claimed_count.tenant_id and l.runner is null)
                     order by q.claimed_at) as c);
end
$$;
comment on function aos_core._claimed_count(uuid, uuid) is 'How many turns of a tenant, or of one agent of it, are claimed.';

create function aos_core._has_turn_limits() returns boolean
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (select from aos_auth.tenant as t where t.max_concurrent_turns is not null)
        or exists (select from aos_agent.agent as a where a.max_concurrent_turns is not null);
end
$$;
comment on function aos_core._has_turn_limits() is 'Whether any tenant or agent has a limit of turns at the same time.';

create function aos_core._claim_lane(worker text, runner text, most integer, lease interval, with_lock boolean, tenant_id uuid, priority integer,
        begins_at timestamptz, not_agents uuid[], not_providers text[]) returns table (run_id uuid, fence bigint)
    language plpgsql set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_hashjoin = off set enable_mergejoin = off
    set enable_material = off set jit = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := aos_core._now();
    v_ids uuid[] := array[]::uuid[];
    v_locked uuid[] := array[]::uuid[];
    v_passed_over uuid[] := array[]::uuid[];
    v_found record;
begin
    for v_round in 1..20 loop
        with free as materialized (
            select q.run_id, coalesce(q.error -> 'hangs' = 'true', false) as hangs
              from aos_core.queue as q
              join aos_agent.conversation as c on c.conversation_id = q.conversation_id and c.tenant_id = q.tenant_id
             where q.claimed_at is null and q.died_at is null and q.runner = _claim_lane.runner and q.tenant_id = _claim_lane.tenant_id
               and q.priority = _claim_lane.priority and q.run_after >= _claim_lane.begins_at and q.run_after <= v_now
               and q.agent_id <> all (_claim_lane.not_agents) and q.provider <> all (_claim_lane.not_providers)
               and q.run_id <> all (v_ids) and q.run_id <> all (v_passed_over)
             order by q.run_after, q.run_id
             limit _claim_lane.most - cardinality(v_ids)
               for no key update of q, c skip locked
        ),
        mine as materialized (
            -- The lock outlasts the transaction, so it is asked for only where the row is ours already.
            select f.run_id, f.hangs, _claim_lane.with_lock and pg_try_advisory_lock(aos_core._turn_key(f.run_id)) as has_lock
              from free as f
        )
        -- A backend that hangs keeps its locks, but no turns: the fence holds it off. Any other lock is let go of in a
        -- moment; who took such a turn without it could die unnoticed.
        select coalesce(array_agg(m.run_id) filter (where m.has_lock or m.hangs or not _claim_lane.with_lock), '{}') as ids,
               coalesce(array_agg(m.run_id) filter (where m.has_lock), '{}') as locked,
               coalesce(array_agg(m.run_id) filter (where not (m.has_lock or m.hangs) and _claim_lane.with_lock), '{}') as passed_over
          into v_found
          from mine as m;
        v_ids := v_ids || v_found.ids;
        v_locked := v_locked || v_found.locked;
        v_passed_over := v_passed_over || v_found.passed_over;
        exit when cardinality(v_found.passed_over) = 0;
    end loop;
    return query
    update aos_core.queue as q
       set worker = _claim_lane.worker, claimed_at = v_now, lease_until = v_now + _claim_lane.lease,
           has_lock = q.run_id = any (v_locked), fence = q.fence + 1,
           error = case when q.run_id = any (v_locked) then q.error - 'hangs' else q.error end
     where q.run_id = any (v_ids)
    returning q.run_id, q.fence;
end
$$;
comment on function aos_core._claim_lane(text, text, integer, interval, boolean, uuid, integer, timestamptz, uuid[], text[]) is
    'Claims turns of one tenant and one priority, those that wait longest first; none of these agents and of these providers.';

create function aos_core._claim_of_tenant(worker text, runner text, most integer, lease interval, with_lock boolean, tenant_id uuid,
        has_limits boolean, not_providers text[]) returns table (run_id uuid, fence bigint)
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_lane record;
    v_room integer := _claim_of_tenant.most;
    v_step integer;
    v_found integer;
    v_full uuid[] := array[]::uuid[];
begin
    if has_limits then
        select least(v_room, t.max_concurrent_turns - case when t.max_concurrent_turns is not null then aos_core._claimed_count(t.tenant_id) end)
          into v_room from aos_auth.tenant as t where t.tenant_id = _claim_of_tenant.tenant_id;
    end if;
    for v_lane in
        select l.priority, min(l.begins_at) as begins_at from aos_core.queue_lane as l
         where l.tenant_id = _claim_of_tenant.tenant_id and l.runner = _claim_of_tenant.runner
         group by l.priority order by l.priority desc
    loop
        loop
            exit when v_room <= 0;
            v_step := v_room;
            if has_limits and exists (select from aos_agent.agent as a
                                       where a.tenant_id = _claim_of_tenant.tenant_id and a.max_concurrent_turns is not null) then
                v_step := 1;  -- each claim may fill an agent
                select coalesce(array_agg(a.agent_id), '{}') into v_full from aos_agent.agent as a
                 where a.tenant_id = _claim_of_tenant.tenant_id and a.max_concurrent_turns is not null
                   and aos_core._claimed_count(a.tenant_id, a.agent_id) >= a.max_concurrent_turns;
            end if;
            return query select c.run_id, c.fence from aos_core._claim_lane(_claim_of_tenant.worker, _claim_of_tenant.runner, v_step, _claim_of_tenant.lease,
                _claim_of_tenant.with_lock, _claim_of_tenant.tenant_id, v_lane.priority, v_lane.begins_at, v_full, _claim_of_tenant.not_providers) as c;
            get diagnostics v_found = row_count;
            v_room := v_room - v_found;
            exit when v_found < v_step or v_step > 1;
        end loop;
    end loop;
end
$$;
comment on function aos_core._claim_of_tenant(text, text, integer, interval, boolean, uuid, boolean, text[]) is
    'Claims turns of one tenant within its limits, the most urgent first.';

create function aos_core._due_tenants(runner text, most integer, besides uuid[]) returns uuid[]
    language plpgsql volatile set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
declare
    v_now timestamptz := aos_core._now();
    v_visible uuid := aos_auth._visible_tenant();
begin
    -- In an order of chance, and no more than are needed: so all tenants take turns.
    return (select coalesce(array_agg(d.tenant_id), '{}')
              from (select k.tenant_id
                      from (select l.tenant_id from aos_core.queue_lane as l
                             where l.runner = _due_tenants.runner and l.tenant_id <> all (_due_tenants.besides)
                               and (v_visible = '00000000-0000-0000-0000-000000000000' or l.tenant_id = v_visible)
                             group by l.tenant_id order by random()) as k
                     where exists (select from aos_core.queue_lane as l
                                    cross join lateral (
                                        select from aos_core.queue as q
                                         where q.claimed_at is null and q.died_at is null and q.runner = l.runner and q.tenant_id = l.tenant_id
                                           and q.priority = l.priority and q.run_after >= l.begins_at and q.run_after <= v_now
                                         order by q.run_after limit 1) as q
                                    where l.tenant_id = k.tenant_id and l.runner = _due_tenants.runner)
                       and aos_auth._is_active(k.tenant_id)
                     limit _due_tenants.most) as d);
end
$$;
comment on function aos_core._due_tenants(text, integer, uuid[]) is 'Active tenants with turns that could be claimed now, at most so many and none of these, in an order of chance.';

create function aos_core._claim_share(worker text, runner text, most integer, lease interval, with_lock boolean)
    returns table (run_id uuid, fence bigint)
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_most integer := _claim_share.most;
    v_tenants uuid[] := aos_core._due_tenants(_claim_share.runner, v_most, '{}');
    v_tried uuid[];
    v_more uuid[];
    v_tenant_id uuid;
    v_left integer := _claim_share.most;
    v_share integer;
    v_found integer;
    v_has_limits boolean := false;
    v_not_providers text[];
begin
    if cardinality(v_tenants) = 0 then
        return;
    end if;
    v_has_limits := aos_core._has_turn_limits();
    if v_has_limits then
        lock table only aos_core.limit_gate in share update exclusive mode;  -- two claims could both see room for one
    end if;
    v_not_providers := aos_core._spent_providers();
    loop
        v_tried := v_tried || v_tenants;
        foreach v_tenant_id in array v_tenants loop
            perform aos_core._open_lane(v_tenant_id, null, null, aos_core._now());
        end loop;
        -- Everybody gets the same share; what some do not need goes round once more.
        while v_left > 0 and cardinality(v_tenants) > 0 loop
            v_share := greatest(v_left / cardinality(v_tenants), 1);
            v_more := '{}';
            foreach v_tenant_id in array v_tenants loop
                exit when v_left <= 0;
                return query select c.run_id, c.fence from aos_core._claim_of_tenant(_claim_share.worker, _claim_share.runner, least(v_share, v_left),
                    _claim_share.lease, _claim_share.with_lock, v_tenant_id, v_has_limits, v_not_providers) as c;
                get diagnostics v_found = row_count;
                v_left := v_left - v_found;
                if v_found >= v_share then
                    v_more := v_more || v_tenant_id;
                end if;
            end loop;
            v_tenants := v_more;
        end loop;
        -- A limit or a lock may have kept these tenants from their turns: then all others are asked, once.
        exit when v_left <= 0 or cardinality(v_tried) <> v_most;
        v_most := 1000;
        v_tenants := aos_core._due_tenants(_claim_share.runner, v_most, v_tried);
        exit when cardinality(v_tenants) = 0;
    end loop;
end
$$;
comment on function aos_core._claim_share(text, text, integer, interval, boolean) is 'Claims turns, the same share of each tenant that has some.';

create function aos_core._claim(worker text, runner text, most integer, lease interval, with_lock boolean)
    returns table (run_id uuid, fence bigint)
    language plpgsql rows 10 set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_left integer := _claim.most;
    v_found integer;
begin
    perform aos_core._refuse_claim(_claim.worker, _claim.lease);
    if (_claim.most between 1 and 10000) is not true then
        raise exception using errcode = 'OS001', message = 'one call claims 1 to 10000 turns', hint = 'As many as the worker has room for.';
    end if;
    perform aos_core._advance_lanes();
    return query select c.run_id, c.fence from aos_core._claim_share(_claim.worker, _claim.runner, v_left, _claim.lease, _claim.with_lock) as c;
    get diagnostics v_found = row_count;
    v_left := v_left - v_found;
    -- With room for more it looks for turns whose worker is gone; with none, only now and then.
    if v_left > 0 or random() < 0.1 then
        if aos_core._release_dead(_claim.worker) > 0 and v_left > 0 then
            return query select c.run_id, c.fence from aos_core._claim_share(_claim.worker, _claim.runner, v_left, _claim.lease, _claim.with_lock) as c;
        end if;
    end if;
end
$$;
comment on function aos_core._claim(text, text, integer, interval, boolean) is
    'Claims turns that wait, at most so many, and takes over those whose worker is gone. with_lock: the session gets the advisory lock of each (_turn_key) and has to unlock it when it has committed the end of the claim, or rolled this back. Commit it at once: it holds the conversations.';

create function aos_core._claim_turn(run_id uuid, worker text, lease interval, with_lock boolean, nowait boolean) returns bigint
    language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
    v_key constant bigint := aos_core._turn_key(_claim_turn.run_id);
    v_row aos_core.queue;
    v_now timestamptz;
    v_is_final boolean;
    v_fence bigint;
begin
    perform aos_core._refuse_claim(_claim_turn.worker, _claim_turn.lease);
    if _claim_turn.with_lock then
        if not _claim_turn.nowait then
            perform pg_advisory_lock(v_key);
        elsif not pg_try_advisory_lock(v_key) then
            perform aos_core._refuse_busy_turn(_claim_turn.run_id);
        end if;
    end if;
    begin
        v_is_final := (aos_agent._lock_turn(_claim_turn.run_id, _claim_turn.nowait)).status in ('completed', 'failed', 'cancelled');
        if not v_is_final then
            select q.* into v_row from aos_core.queue as q where q.run_id = _claim_turn.run_id for no key update;
            if not found then
                perform aos_core._enqueue(_claim_turn.run_id);
                select q.* into strict v_row from aos_core.queue as q where q.run_id = _claim_turn.run_id for no key update;
            elsif v_row.worker is not null and v_row.lease_until > aos_core._now()
                -- Who holds the lock now is not the one who claimed it with the lock: that one is gone.
                and not (v_row.has_lock and (_claim_turn.with_lock or pg_try_advisory_xact_lock(v_key)))
            then
                perform aos_core._refuse_busy_turn(_claim_turn.run_id);
            end if;
            perform aos_core._open_lane(v_row.tenant_id, null, null, aos_core._now());
            v_now := aos_core._now();
            update aos_core.queue as q
               set worker = _claim_turn.worker, claimed_at = v_now, lease_until = v_now + _claim_turn.lease, has_lock = _claim_turn.with_lock,
                   fence = q.fence + 1, attempt = q.attempt + case when v_row.worker is not null then 1 else 0 end,
                   error = case when _claim_turn.with_lock then q.error - 'hangs' else q.error end
             where q.run_id = _claim_turn.run_id
            returning q.fence into v_fence;
        end if;
    exception when query_canceled or others then
        if _claim_turn.with_lock then
            perform pg_advisory_unlock(v_key);
        end if;
        raise;
    end;
    if v_is_final and _claim_turn.with_lock then
        perform pg_advisory_unlock(v_key);
    end if;
    return v_fence;
end
$$;
comment on function aos_core._claim_turn(uuid, text, interval, boolean, boolean) is
    'Claims one turn, queued or not, whatever the limits are, and returns its fence; null: the turn is over. with_lock: see _claim; without nowait this waits for another backend that drives the turn. It is an error when a worker elsewhere does.';

create function aos_core._refuse_busy_turn(run_id uuid) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = 'OS004', message = format('turn %s is driven by somebody else', _refuse_busy_turn.run_id),
        hint = 'Try again later, or without nowait, which waits. aos_agent.live_activity shows by whom.';
end
$$;
comment on function aos_core._refuse_busy_turn(uuid) is 'Raises the error of a turn that somebody alive drives.';
