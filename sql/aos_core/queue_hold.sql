-- What becomes of a claim: it is kept, given back, or lost.

create function aos_core._claims() returns setof aos_core.queue
    language plpgsql stable set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
begin
    return query
    select q.*
      from (select l.tenant_id, min(l.begins_at) as begins_at from aos_core.queue_lane as l where l.runner is null group by l.tenant_id) as l
     cross join lateral (
        select q.* from aos_core.queue as q
         where q.claimed_at is not null and q.tenant_id = l.tenant_id and q.claimed_at >= l.begins_at
         order by q.claimed_at offset 0) as q;
end
$$;
comment on function aos_core._claims() is 'What is claimed at the moment, by any worker.';

create function aos_core._keep_claims(worker text, lease interval) returns table (run_id uuid, fence bigint)
    language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz;
    v_claim record;
    v_ids uuid[] := array[]::uuid[];
begin
    perform aos_core._refuse_claim(_keep_claims.worker, _keep_claims.lease);
    v_now := aos_core._now();
    for v_claim in
        select c.run_id, c.fence from aos_core._claims() as c where c.worker = _keep_claims.worker
    loop
        run_id := v_claim.run_id;
        fence := v_claim.fence;
        v_ids := v_ids || v_claim.run_id;
        return next;
    end loop;
    -- What is locked is being written by its owner, who renews it with that, or ended. Nothing is waited for.
    v_ids := (select array_agg(f.run_id)
                from (select q.run_id from aos_core.queue as q
                       where q.run_id = any (v_ids) and q.worker = _keep_claims.worker for no key update skip locked) as f);
    update aos_core.queue as q set lease_until = greatest(q.lease_until, v_now + _keep_claims.lease) where q.run_id = any (v_ids);
end
$$;
comment on function aos_core._keep_claims(text, interval) is
    'The heartbeat of a worker: renews the leases of all its claims and returns them. What is missing was taken over or cancelled. Commit it at once: it holds the rows, but not their conversations.';

create function aos_core._hold_claim(run_id uuid, fence bigint, made_progress boolean, lease interval) returns void
    language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
    v_conversation_id uuid;
begin
    select q.conversation_id into v_conversation_id from aos_core.queue as q where q.run_id = _hold_claim.run_id;
    -- Before the row, as whoever cancels or decides does.
    perform from aos_agent.conversation as c where c.conversation_id = v_conversation_id for no key update;
    update aos_core.queue as q
       set lease_until = greatest(q.lease_until, aos_core._now() + _hold_claim.lease),
           attempt = case when _hold_claim.made_progress then 0 else q.attempt end
     where q.run_id = _hold_claim.run_id and q.fence = _hold_claim.fence and q.worker is not null;
    if not found then
        raise exception using errcode = 'OS006', message = format('turn %s is not yours any more', coalesce(_hold_claim.run_id::text, 'NULL')),
            hint = 'It was cancelled, or your claim ran out and another worker drives it. Nothing of this call was kept.';
    end if;
end
$$;
comment on function aos_core._hold_claim(uuid, bigint, boolean, interval) is
    'Makes sure that a claim still holds, to the end of the transaction, and renews it. made_progress: what went wrong with the turn before is forgotten.';

create function aos_core._retry_delay(attempt integer) returns interval
    language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    -- Twice as long each time, at most an hour; between half of it and all, so that many do not come back at once.
    return make_interval(secs => least((aos_meta.setting('queue_retry_seconds') #>> '{}')::float * 2.0 ^ least(greatest(_retry_delay.attempt - 1, 0), 30), 3600)
        * (0.5 + random() / 2));
end
$$;
comment on function aos_core._retry_delay(integer) is 'How long a turn waits after so many claims in a row without progress.';

-- The conversation and the row are locked, and the claim is ours or nobody's.
create function aos_core._count_failure(run_id uuid, error jsonb, delay interval) returns text
    language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := aos_core._now();
    v_attempt integer;
begin
    update aos_core.queue as q set attempt = q.attempt + 1, error = _count_failure.error
     where q.run_id = _count_failure.run_id
    returning q.attempt into v_attempt;
    if v_attempt < (aos_meta.setting('queue_max_attempts') #>> '{}')::integer then
        perform aos_core._wait(_count_failure.run_id, v_now + coalesce(_count_failure.delay, aos_core._retry_delay(v_attempt)));
        return 'queued';
    end if;
    update aos_core.queue as q
       set worker = null, claimed_at = null, lease_until = null, has_lock = false, died_at = v_now,
           error = _count_failure.error || jsonb_build_object('attempts', v_attempt)
     where q.run_id = _count_failure.run_id;
    perform aos_agent._fail(_count_failure.run_id, _count_failure.error || jsonb_build_object('attempts', v_attempt));
    return 'failed';
end
$$;
comment on function aos_core._count_failure(uuid, jsonb, interval) is
    'Lets a turn wait after a claim that brought no progress, or makes it a dead letter. delay: null: longer each time. Returns queued or failed.';

create function aos_core._give_back(run_id uuid, fence bigint, error jsonb default null, retry_after interval default null) returns text
    language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
    v_attempt integer;
begin
    perform aos_core._hold_claim(_give_back.run_id, _give_back.fence, false, interval '0');
    if _give_back.error is null then
        perform aos_core._wait(_give_back.run_id, coalesce(aos_core._expires_first(_give_back.run_id), aos_core._now() + coalesce(_give_back.retry_after, interval '0')));
        return 'queued';
    end if;
    select q.attempt + 1 into strict v_attempt from aos_core.queue as q where q.run_id = _give_back.run_id;
    return aos_core._count_failure(_give_back.run_id, _give_back.error, greatest(_give_back.retry_after, aos_core._retry_delay(v_attempt)));
end
$$;
comment on function aos_core._give_back(uuid, bigint, jsonb, interval) is
    'Ends a claim of a turn that is not over. Without an error it waits as before; with one it waits longer each time, at least retry_after, and after the setting queue_max_attempts it fails with that error. Returns queued or failed.';

create function aos_core._lost_claims(besides_worker text) returns table (run_id uuid, fence bigint, is_over boolean, hangs boolean)
    language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_now timestamptz := aos_core._now();
begin
    return query
    with claimed as materialized (
        select c.run_id, c.fence, c.claimed_at, c.lease_until <= v_now as is_over, c.has_lock,
               c.has_lock and c.worker is distinct from _lost_claims.besides_worker as is_to_try
          from aos_core._claims() as c
    ),
    tried as materialized (
        select c.*, c.is_to_try and pg_try_advisory_xact_lock(aos_core._turn_key(c.run_id)) as is_gone from claimed as c
    )
    select t.run_id, t.fence, t.is_over, t.has_lock and not t.is_gone from tried as t
     where t.is_over or t.is_gone
     order by t.claimed_at
     limit 1000;
end
$$;
comment on function aos_core._lost_claims(text) is
    'Claims whose lease is over, or whose lock its backend has let go of: it then belongs to this transaction. hangs: the backend holds the lock still.';

create function aos_core._release_dead(besides_worker text) returns integer
    language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
declare
    v_now timestamptz := aos_core._now();
    v_claim record;
    v_row aos_core.queue;
    v_count integer := 0;
begin
    for v_claim in
        select c.run_id, c.fence, c.is_over, c.hangs from aos_core._lost_claims(_release_dead.besides_worker) as c
    loop
        -- The conversation too: it could be the last failure. Who is at it now is not waited for.
        select q.* into v_row from aos_core.queue as q
          join aos_agent.conversation as c on c.conversation_id = q.conversation_id and c.tenant_id = q.tenant_id
         where q.run_id = v_claim.run_id and q.fence = v_claim.fence and q.worker is not null
           and (q.lease_until <= v_now or not v_claim.is_over)
           for no key update of q, c skip locked;
        continue when not found;
        perform aos_core._count_failure(v_row.run_id, jsonb_build_object('sqlstate', 'OS116', 'kind', 'abandoned', 'hangs', v_claim.hangs,
                'message', format('worker %s was lost while it drove the turn', v_row.worker),
                'hint', 'Look for the reason in the log of the worker or of the server; SELECT aos_agent.resubmit(turn_id) tries once more.'),
            -- That a backend ended tells nothing against the turn, the first time.
            case when not v_claim.is_over and v_row.attempt = 0 then interval '0' end);
        v_count := v_count + 1;
    end loop;
    return v_count;
end
$$;
comment on function aos_core._release_dead(text) is
    'Ends the claims of workers that are gone: backends that have let go of the lock, and leases that are over. besides_worker: whose locks are not tried, because this session holds them. Returns how many.';

create function aos_core._advance_lanes() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
declare
    v_now timestamptz := aos_core._now();
    v_ids uuid[];
    v_begins timestamptz[];
begin
    if not exists (select from aos_core.queue_lane as l where l.checked_at not between v_now - interval '5 seconds' and v_now) then
        return;
    end if;
    begin
        lock table only aos_core.lane_gate in share row exclusive mode nowait;  -- nobody is adding anything that is not to be seen yet
        select array_agg(l.lane_id), array_agg(least(v_now, case when l.runner is null then (
                   select q.claimed_at from aos_core.queue as q
                    where q.claimed_at is not null and q.tenant_id = l.tenant_id and q.claimed_at >= l.begins_at
                    order by q.claimed_at limit 1)
               else (
                   select q.run_after from aos_core.queue as q
                    where q.claimed_at is null and q.died_at is null and q.runner = l.runner and q.tenant_id = l.tenant_id
                      and q.priority = l.priority and q.run_after >= l.begins_at
                    order by q.run_after limit 1) end))
          into v_ids, v_begins
          from aos_core.queue_lane as l
         where l.checked_at not between v_now - interval '5 seconds' and v_now;
        raise exception using errcode = 'OS000';  -- gives the lock back
    exception when lock_not_available or sqlstate 'OS000' then
        null;
    end;
    -- Of several of one kind the first stays: at a stricter isolation level each submit adds one.
    with free as materialized (
        select l.lane_id, l.tenant_id, l.runner, l.priority, n.begins_at
          from unnest(v_ids, v_begins) as n (lane_id, begins_at)
          join aos_core.queue_lane as l on l.lane_id = n.lane_id
           for update of l skip locked
    ),
    ranked as materialized (
        select f.lane_id, f.begins_at, row_number() over (partition by f.tenant_id, f.runner, f.priority order by f.begins_at, f.lane_id) as no
          from free as f
    ),
    gone as (
        delete from aos_core.queue_lane as l using ranked as r where l.lane_id = r.lane_id and r.no > 1
    )
    update aos_core.queue_lane as l set begins_at = r.begins_at, checked_at = v_now
      from ranked as r where l.lane_id = r.lane_id and r.no = 1;
end
$$;
comment on function aos_core._advance_lanes() is
    'Finds out anew, every five seconds, where the turns in the queue begin. It waits for nobody: when somebody is just adding turns, it is done the next time.';
