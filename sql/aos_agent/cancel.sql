-- Whoever drives a turn by SELECT holds its advisory lock to the end of his transaction, and so does who runs a tool of it
-- for a worker outside; a committing driver for as long as he has the turn. So who drives it is known while nothing of his transaction can be seen.
create function aos_agent._drive_turn(turn_id uuid, nowait boolean default false) returns aos_core.run
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_key constant bigint := aos_core._turn_key(_drive_turn.turn_id);
    v_run aos_core.run;
begin
    -- Before the conversation: whoever holds the lock may need that.
    if exists (select from aos_core.run as r
                where r.run_id = _drive_turn.turn_id and r.runner = 'database' and r.status not in ('completed', 'failed', 'cancelled')) then
        if not _drive_turn.nowait then
            perform pg_advisory_xact_lock(v_key);
        elsif not pg_try_advisory_xact_lock(v_key) then
            perform aos_core._refuse_busy_turn(_drive_turn.turn_id);
        end if;
    end if;
    v_run := aos_agent._lock_turn(_drive_turn.turn_id, _drive_turn.nowait);
    if v_run.is_queued and v_run.runner = 'database' then
        -- No worker may claim it meanwhile; of one that had it and is gone nothing is taken any more.
        update aos_core.queue as q set fence = q.fence + 1 where q.run_id = v_run.run_id;
    end if;
    return v_run;
end
$$;
comment on function aos_agent._drive_turn(uuid, boolean) is
    'Locks a turn for a session that is going to drive it in this transaction, and returns it. Whoever drives it now is waited for; with nowait that is an error.';

create function aos_agent._driving_backend(run_id uuid) returns integer
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_key constant bigint := aos_core._turn_key(_driving_backend.run_id);
begin
    return (select l.pid from pg_locks as l
             where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.mode = 'ExclusiveLock'
               and l.database = (select d.oid from pg_database as d where d.datname = current_database())
               and l.classid = ((v_key >> 32) & 4294967295)::oid and l.objid = (v_key & 4294967295)::oid);
end
$$;
comment on function aos_agent._driving_backend(uuid) is 'The process that drives a turn inside the database; null: none does.';

-- The name is anybody's to set: who takes this one for himself is only not interrupted.
create function aos_agent._is_worker(pid integer) returns boolean
    language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (select from pg_stat_activity as a where a.pid = _is_worker.pid and a.application_name like 'pgagentos work:%');
end
$$;
comment on function aos_agent._is_worker(integer) is 'Whether a process is a worker, which drives turns of many: nobody interrupts it for one of them.';

create function aos_agent._interrupt_driver(run_id uuid) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_pid constant integer := aos_agent._driving_backend(_interrupt_driver.run_id);
begin
    if v_pid <> pg_backend_pid() and not aos_agent._is_worker(v_pid) then
        perform pg_cancel_backend(v_pid);
    end if;
exception when insufficient_privilege then
    null;  -- a superuser's: it sees the mark before its next step
end
$$;
comment on function aos_agent._interrupt_driver(uuid) is 'Interrupts the session that drives a turn by SELECT, which finds the mark of cancel_turn and closes the turn, or the one that runs a tool for a worker outside.';

create function aos_agent.cancel_turn(turn_id uuid) returns jsonb
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_external constant boolean := exists (select from aos_core.run as r where r.run_id = cancel_turn.turn_id and r.runner = 'external');
    v_run aos_core.run;
    v_nowait boolean;
    v_looks integer := 0;
begin
    loop
        -- A driver that commits locks the turn for a moment at a time: that moment is waited for.
        v_nowait := v_is_external
            or not exists (select from aos_core.queue as q where q.run_id = cancel_turn.turn_id and q.worker is not null);
        begin
            v_run := aos_agent._lock_turn(cancel_turn.turn_id, v_nowait);
            exit;
        exception when sqlstate 'OS004' then
            if v_is_external then
                -- A statement of its worker has the turn: for a moment, or for as long as a tool takes that it runs.
                if v_looks % 50 = 0 then
                    perform aos_agent._interrupt_driver(cancel_turn.turn_id);
                end if;
                v_looks := v_looks + 1;
                perform pg_sleep(0.01);
                continue;
            end if;
            -- It may just have been claimed; at a stricter isolation level that cannot be seen.
            continue when current_setting('transaction_isolation') = 'read committed'
                and exists (select from aos_core.queue as q where q.run_id = cancel_turn.turn_id and q.worker is not null);
            if current_setting('transaction_isolation') = 'read committed' and v_looks < 1000
                and aos_agent._is_worker(aos_agent._driving_backend(cancel_turn.turn_id))
            then
                v_looks := v_looks + 1;  -- a worker is just claiming it, and commits that in a moment
                perform pg_sleep(0.01);
                continue;
            end if;
            -- Another session drives it by SELECT. It sees the mark when this transaction is committed.
            insert into aos_core.cancel_request (run_id, tenant_id)
            select r.run_id, r.tenant_id from aos_core.run as r where r.run_id = cancel_turn.turn_id
            on conflict on constraint cancel_request_pkey do nothing;
            if current_setting('transaction_isolation') = 'read committed' then
                perform aos_agent._interrupt_driver(cancel_turn.turn_id);
            end if;
            return jsonb_build_object('status', 'cancel_requested', 'turn_id', cancel_turn.turn_id);
        end;
    end loop;
    if v_run.status not in ('completed', 'failed', 'cancelled') then
        perform aos_agent._cancel(v_run.run_id);
        if v_run.runner = 'external' then
            perform pg_notify('pgagentos_cancel', v_run.run_id::text);  -- drivers in this database look by themselves
        end if;
        return jsonb_build_object('status', 'cancelled', 'turn_id', v_run.run_id);
    end if;
    return jsonb_build_object('status', v_run.status, 'turn_id', v_run.run_id);
end
$$;
comment on function aos_agent.cancel_turn(uuid) is
    'Ends a turn that is not finished: at once where it waits or a worker drives it, which then stops; where another session drives it by SELECT, that session is interrupted and closes it. What it did stays recorded.';

create function aos_agent._is_cancel_requested(run_id uuid, waits boolean default false) returns boolean
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from aos_core.cancel_request as c where c.run_id = _is_cancel_requested.run_id) then
        return true;
    elsif not _is_cancel_requested.waits and current_setting('transaction_isolation') not in ('repeatable read', 'serializable') then
        return false;
    end if;
    -- The snapshot may be older than the mark, and the mark not yet committed. A unique key sees past snapshots, and
    -- waits for whoever is just writing it: a row that would collide with one that is not to be seen is a serialization
    -- failure.
    begin
        insert into aos_core.cancel_request (run_id, tenant_id)
        select r.run_id, r.tenant_id from aos_core.run as r where r.run_id = _is_cancel_requested.run_id
        on conflict on constraint cancel_request_pkey do nothing;
        if not found then
            return true;
        end if;
        raise exception using errcode = 'OS000';  -- undoes it
    exception
        when serialization_failure then return true;
        when sqlstate 'OS000' then return false;
    end;
end
$$;
comment on function aos_agent._is_cancel_requested(uuid, boolean) is
    'Whether another session has asked, and committed, that this turn be cancelled; it sees that at every isolation level. waits: for one that is just about to.';

create function aos_agent._cancel(run_id uuid) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    update aos_core.approval as a set decision = 'cancelled', decided_at = clock_timestamp(), decided_by = aos_auth.actor()
      from aos_core.step as s
     where s.run_id = _cancel.run_id and a.step_id = s.step_id and a.tenant_id = s.tenant_id and a.decision is null;
    perform aos_core._record(_cancel.run_id, '[]',
        (select coalesce(json_agg(json_build_object('step_no', s.step_no, 'status', 'cancelled', 'finished_at', clock_timestamp(),
                    'message', case s.kind when 'tool' then
                        aos_agent._tool_message(s.call_id, '"The turn was cancelled before this call ended."', true) end)), '[]')
           from aos_core.step as s where s.run_id = _cancel.run_id and s.finished_at is null), 'cancelled');
end
$$;
comment on function aos_agent._cancel(uuid) is 'Closes the open steps of a turn and the turn itself as cancelled.';
