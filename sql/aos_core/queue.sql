-- The queue: turns that a worker is to drive, or drives. docs/queue.md says how it works. Whoever holds more than one
-- lock takes them in this order: the turn's advisory lock, its conversation, its row in aos_core.run, its row here.

create function aos_core._now() returns timestamptz
    language sql volatile parallel safe
return clock_timestamp();
comment on function aos_core._now() is
    'The time by which the queue goes: that of the clock, because a worker''s statement goes on for as long as it works.';

create function aos_core._turn_key(run_id uuid) returns bigint
    language sql immutable strict parallel safe
return ('x' || right(replace(run_id::text, '-', ''), 16))::bit(64)::bigint;
comment on function aos_core._turn_key(uuid) is
    'The key of the advisory lock that whoever drives a turn in this database holds: the last 16 hexadecimal digits of its identity.';

create table aos_core.queue (
    run_id uuid not null,
    tenant_id uuid not null,
    conversation_id uuid not null,
    agent_id uuid not null,
    submitted_at timestamptz not null,
    run_after timestamptz not null,
    claimed_at timestamptz,
    lease_until timestamptz,
    died_at timestamptz,
    fence bigint not null default 0,
    attempt integer not null default 0,
    priority smallint not null default 0,
    has_lock boolean not null default false,
    runner aos_core.runner not null,
    provider text not null,
    worker text,
    error jsonb,
    constraint queue_pkey primary key (run_id, tenant_id),
    constraint queue_is_of_turns foreign key (run_id, tenant_id)
        references aos_core.run (run_id, tenant_id) on delete cascade deferrable initially deferred,
    constraint queue_counts_are_not_negative check (fence >= 0 and attempt >= 0),
    constraint queue_claims_are_whole
        check ((worker is null) = (claimed_at is null) and (worker is null) = (lease_until is null) and (worker is not null or not has_lock)),
    constraint dead_letters_are_claimed_by_nobody check (died_at is null or worker is null),
    constraint dead_letters_have_a_reason check (died_at is null or error is not null)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
-- What changes while a turn is driven (lease_until, attempt) is in no index: a heartbeat stays on its page (HOT).
-- Their conditions name claimed_at and not worker, so that no statement about one turn, which does, reads over a whole one.
create index queue_waiting on aos_core.queue (runner, tenant_id, priority, run_after, run_id) where claimed_at is null and died_at is null;
create index queue_claimed on aos_core.queue (tenant_id, claimed_at) where claimed_at is not null;
create index queue_dead on aos_core.queue (died_at) where died_at is not null;
comment on table aos_core.queue is
    'The turns that a worker is to drive, or drives. The row goes when the turn ends; that of a turn which failed again and again stays for a while as a dead letter.';
comment on column aos_core.queue.run_id is 'The turn.';
comment on column aos_core.queue.agent_id is 'The agent of its conversation, for agent.max_concurrent_turns.';
comment on column aos_core.queue.run_after is 'Nobody claims it earlier. Of a turn that waits for a person: when the first of its questions expires.';
comment on column aos_core.queue.claimed_at is 'Since when it is claimed; null: by nobody.';
comment on column aos_core.queue.lease_until is 'Others may take the claim over then, unless the worker has renewed it.';
comment on column aos_core.queue.died_at is 'When it became a dead letter; null: it is none.';
comment on column aos_core.queue.fence is 'How often it was claimed. What a worker brings under an older number is refused (OS006).';
comment on column aos_core.queue.attempt is 'How many claims in a row ended without progress.';
comment on column aos_core.queue.priority is 'Among the turns of its tenant and runner the highest comes first.';
comment on column aos_core.queue.has_lock is 'The worker is a backend of this server and holds the advisory lock of the turn: once that is free, the backend is gone.';
comment on column aos_core.queue.runner is 'Who may claim it: workers in the database, or outside.';
comment on column aos_core.queue.provider is 'Where its model is called, for that provider''s rate limits.';
comment on column aos_core.queue.worker is 'Who drives it; null: nobody.';
comment on column aos_core.queue.error is 'Why the last claim ended without progress: {"sqlstate", "message", "hint", "kind"}.';

-- Where to begin reading an index of the queue. Until they are vacuumed, the entries of turns that are over stand before
-- those that wait, and while any transaction holds the vacuum back they only grow more: without this, every claim would
-- read over all of them.
create table aos_core.queue_lane (
    lane_id uuid not null default aos_core.new_id(),
    tenant_id uuid not null,
    begins_at timestamptz not null,
    checked_at timestamptz not null,
    priority smallint,
    runner aos_core.runner,
    constraint queue_lane_pkey primary key (lane_id, tenant_id),
    constraint queue_lane_belongs_to_a_tenant foreign key (tenant_id) references aos_auth.tenant (tenant_id)
        on delete cascade deferrable initially deferred,
    constraint queue_lane_is_of_waiting_turns_or_of_claims check ((runner is null) = (priority is null))
) with (fillfactor = 50);
create index queue_lane_tenant on aos_core.queue_lane (tenant_id);
comment on table aos_core.queue_lane is
    'A hint for those who read the queue: which tenants have turns of which runner and priority in it, and from when on. Rows are added without looking for those that another transaction is just adding: two of the same kind do no harm.';
comment on column aos_core.queue_lane.begins_at is 'No turn of this kind has an earlier run_after; of claims: an earlier claimed_at.';
comment on column aos_core.queue_lane.checked_at is 'When begins_at was found out.';
comment on column aos_core.queue_lane.priority is 'Of turns that wait; null: of turns that are claimed, whatever their priority.';
comment on column aos_core.queue_lane.runner is 'Of turns that wait; null: of turns that are claimed, whatever their runner.';

-- Two locks that all who use the queue share. They are tables, because advisory locks anybody may take who can connect.
-- Whoever may use the schema can lock a table a little (PREPARE of a DELETE takes ROW EXCLUSIVE and asks for no right): in
-- these modes no submit and no claim waits for that, and to find out where the queue begins can be put off.
create table aos_core.lane_gate ();
comment on table aos_core.lane_gate is
    'Always empty: a lock. Whoever puts rows into the queue, or claims them, holds it in ROW EXCLUSIVE mode until they are committed; who finds out where the queue begins, in SHARE ROW EXCLUSIVE mode.';
create table aos_core.limit_gate ();
comment on table aos_core.limit_gate is
    'Always empty: a lock. One transaction at a time, in SHARE UPDATE EXCLUSIVE mode, counts what limits of turns and rates have left and takes some of it.';

-- Who has the gate alone sees all rows there are, and what comes later begins later.
create function aos_core._open_lane(tenant_id uuid, runner text, priority integer, at timestamptz) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_begins_at timestamptz;
begin
    lock table only aos_core.lane_gate in row exclusive mode;
    -- A stricter isolation level may show a lane that is gone by now.
    if current_setting('transaction_isolation') = 'read committed' then
        select min(l.begins_at) into v_begins_at from aos_core.queue_lane as l
         where l.tenant_id = _open_lane.tenant_id and l.runner is not distinct from _open_lane.runner
           and l.priority is not distinct from _open_lane.priority;
    end if;
    -- A lane that is there is never changed here: _advance_lanes may be about to move it. A new one it cannot know of.
    -- Earlier than all that is there: it waits already and got another priority, or the server's clock was set back.
    if v_begins_at is null or v_begins_at > _open_lane.at then
        insert into aos_core.queue_lane (tenant_id, runner, priority, begins_at, checked_at)
        values (_open_lane.tenant_id, _open_lane.runner, _open_lane.priority, _open_lane.at, _open_lane.at);
    end if;
end
$$;
comment on function aos_core._open_lane(uuid, text, integer, timestamptz) is
    'Before a row is put into the queue, or claimed: makes sure that readers of the queue will look where it is.';

create function aos_core._wait(run_id uuid, run_after timestamptz) returns void
    language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
declare
    v_row aos_core.queue;
    v_now timestamptz;
    v_run_after timestamptz;
begin
    select q.* into v_row from aos_core.queue as q where q.run_id = _wait.run_id and q.died_at is null for no key update;
    if not found then
        return;
    end if;
    perform aos_core._open_lane(v_row.tenant_id, v_row.runner, v_row.priority, aos_core._now());
    v_now := aos_core._now();
    v_run_after := greatest(_wait.run_after, v_now);
    update aos_core.queue as q
       set worker = null, claimed_at = null, lease_until = null, has_lock = false, run_after = v_run_after
     where q.run_id = _wait.run_id;
    if v_run_after <= v_now then
        perform pg_notify('pgagentos_queue', v_row.runner);
    end if;
end
$$;
comment on function aos_core._wait(uuid, timestamptz) is
    'Lets a turn of the queue wait for a worker, whoever had it: from run_after on, or from now on if that is past.';

create function aos_core._expires_first(run_id uuid) returns timestamptz
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return (select min(a.expires_at) from aos_core.step as s
              join aos_core.approval as a on a.step_id = s.step_id and a.tenant_id = s.tenant_id
             where s.run_id = _expires_first.run_id and s.status = 'awaiting_approval' and a.decision is null);
end
$$;
comment on function aos_core._expires_first(uuid) is 'When the first of the questions expires that a turn has asked people; null: it waits for nobody.';

create function aos_core._enqueue(run_id uuid, priority integer default 0, run_after timestamptz default now()) returns void
    language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off
as $$
declare
    v_priority integer := coalesce(_enqueue.priority, 0);
    v_run record;
    v_row aos_core.queue;
    v_now timestamptz;
    v_run_after timestamptz;
begin
    -- Few different ones: each claim looks at all that a tenant has used of late.
    if v_priority not between -100 and 100 then
        raise exception using errcode = 'OS001', message = format('a priority is between -100 and 100, not %s', v_priority),
            hint = '0 is the usual one; a higher one comes first among the turns of its tenant.';
    end if;
    select r.tenant_id, r.conversation_id, r.runner, r.status, r.is_queued, c.agent_id, m.provider into v_run
      from aos_core.run as r
      join aos_agent.conversation as c on c.conversation_id = r.conversation_id and c.tenant_id = r.tenant_id
      join aos_persona.persona_version as v on v.persona_version_id = r.persona_version_id and v.tenant_id = r.tenant_id
      join aos_meta.llm_model_registry as m on m.model_id = v.model_id
     where r.run_id = _enqueue.run_id;
    if not found then
        raise exception using errcode = 'OS002', message = format('there is no turn %s', coalesce(_enqueue.run_id::text, 'NULL')),
            hint = 'SELECT aos_agent.submit(conversation_id, content) starts one and queues it.';
    elsif v_run.status in ('completed', 'failed', 'cancelled') then
        raise exception using errcode = 'OS003', message = format('turn %s is already %s', _enqueue.run_id, v_run.status),
            hint = 'SELECT aos_agent.submit(conversation_id, content) starts the next one.';
    end if;
    if not v_run.is_queued then
        update aos_core.run as r set is_queued = true where r.run_id = _enqueue.run_id;
    end if;
    perform aos_core._open_lane(v_run.tenant_id, v_run.runner, v_priority, aos_core._now());
    v_now := aos_core._now();  -- not before the lane was opened
    v_run_after := greatest(coalesce(_enqueue.run_after, v_now), v_now);
    insert into aos_core.queue (run_id, tenant_id, conversation_id, agent_id, submitted_at, run_after, priority, runner, provider)
    values (_enqueue.run_id, v_run.tenant_id, v_run.conversation_id, v_run.agent_id, v_now, v_run_after, v_priority, v_run.runner, v_run.provider)
    on conflict on constraint queue_pkey do nothing;
    if not found then
        select q.* into v_row from aos_core.queue as q where q.run_id = _enqueue.run_id and q.worker is null for no key update;
        if found and (v_run_after < v_row.run_after or v_priority > v_row.priority) then
            v_run_after := least(v_run_after, v_row.run_after);  -- it keeps its place
            perform aos_core._open_lane(v_row.tenant_id, v_row.runner, greatest(v_priority, v_row.priority), v_run_after);
            -- A place in the past: whoever moves the lane just now may not know of it.
            insert into aos_core.queue_lane (tenant_id, runner, priority, begins_at, checked_at)
            select v_row.tenant_id, v_row.runner, greatest(v_priority, v_row.priority), v_run_after, v_run_after where v_run_after < v_now;
            update aos_core.queue as q set run_after = v_run_after, priority = greatest(v_priority, q.priority) where q.run_id = _enqueue.run_id;
            perform pg_notify('pgagentos_queue', v_row.runner) where v_run_after <= v_now;
        end if;
    elsif v_run_after <= v_now then
        perform pg_notify('pgagentos_queue', v_run.runner);
    end if;
end
$$;
comment on function aos_core._enqueue(uuid, integer, timestamptz) is
    'Puts an unfinished turn into the queue; one that waits there already runs sooner, or more urgently, if this says so. The caller has locked the conversation.';

select pg_catalog.pg_extension_config_dump('aos_core.queue', '');
select pg_catalog.pg_extension_config_dump('aos_core.queue_lane', '');
select pg_catalog.pg_extension_config_dump('aos_core.lane_gate', '');
select pg_catalog.pg_extension_config_dump('aos_core.limit_gate', '');
