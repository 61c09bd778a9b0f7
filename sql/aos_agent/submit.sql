create function aos_agent._join_queued_turn(conversation_id uuid, content text, run_id uuid) returns boolean
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_run_id constant uuid := _join_queued_turn.run_id;
    v_bytes bigint;
begin
    -- Whoever has locked the row is just claiming it. Nobody ever had it: its model has seen nothing of it.
    perform from aos_core.queue as q
      where q.run_id = v_run_id and q.worker is null and q.died_at is null and q.fence = 0
        for no key update skip locked;
    if not found or exists (select from aos_core.step as s where s.run_id = v_run_id) then
        return false;
    end if;
    insert into aos_agent.message (tenant_id, conversation_id, content)
    select r.tenant_id, r.conversation_id, _join_queued_turn.content from aos_core.run as r where r.run_id = v_run_id;
    with answered as (
        update aos_agent.message as m set run_id = v_run_id
         where m.conversation_id = _join_queued_turn.conversation_id and m.run_id is null
        returning octet_length(m.content) as bytes
    )
    select sum(bytes) into v_bytes from answered;
    update aos_core.run as r set transcript_bytes = r.transcript_bytes + v_bytes where r.run_id = v_run_id;
    return true;
end
$$;
comment on function aos_agent._join_queued_turn(uuid, text, uuid) is
    'Adds a message to a turn that waits in the queue and that nobody has touched yet, if it is such a one. The conversation is locked.';

create function aos_agent.submit(conversation_id uuid, content text, priority integer default 0, run_after timestamptz default now(),
        dedup_key text default null) returns uuid
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := aos_core._now();
    v_tenant_id uuid;
    v_principal_id uuid;
    v_run_id uuid;
    v_status text;
begin
    perform aos_agent._refuse_empty(submit.content);
    v_tenant_id := aos_agent._conversation_tenant(submit.conversation_id);
    select c.principal_id into v_principal_id from aos_agent.conversation as c where c.conversation_id = submit.conversation_id;
    perform aos_agent._refuse_other_speaker(submit.conversation_id, v_principal_id);
    if submit.dedup_key is not null then
        -- Two at the same time: the second waits for the first here. Which turn it is, is known further down.
        insert into aos_core.dedup_key as d (tenant_id, dedup_key, run_id, created_at)
        values (v_tenant_id, submit.dedup_key, '00000000-0000-0000-0000-000000000000', v_now)
        on conflict on constraint dedup_key_pkey do update set created_at = excluded.created_at
         where d.created_at <= v_now - (aos_meta.setting('queue_keep_dedup_keys') #>> '{}')::interval;
        if not found then
            return (select d.run_id from aos_core.dedup_key as d where d.tenant_id = v_tenant_id and d.dedup_key = submit.dedup_key);
        end if;
    end if;
    perform aos_agent._lock_conversation(submit.conversation_id);
    select r.run_id, r.status into v_run_id, v_status
      from aos_core.run as r where r.conversation_id = submit.conversation_id order by r.turn_no desc limit 1;
    if v_status not in ('completed', 'failed', 'cancelled') then
        if not aos_agent._join_queued_turn(submit.conversation_id, submit.content, v_run_id) then
            raise exception using errcode = 'OS003',
                message = format('turn %s of this conversation is under way, it is %s', v_run_id, v_status),
                hint = format('Submit again when it is finished, or end it with SELECT aos_agent.cancel_turn(%L).', v_run_id);
        end if;
    else
        v_run_id := aos_agent._start_turn(submit.conversation_id, submit.content);
    end if;
    perform aos_core._enqueue(v_run_id, submit.priority, submit.run_after);
    update aos_core.dedup_key as d set run_id = v_run_id where d.tenant_id = v_tenant_id and d.dedup_key = submit.dedup_key;
    return v_run_id;
end
$$;
comment on function aos_agent.submit(uuid, text, integer, timestamptz, text) is
    'Says something in a conversation and queues the turn that answers it, for a worker (CALL aos_agent.work). A message for a turn that still waits in the queue joins it. priority: the highest of the tenant comes first; run_after: not earlier; dedup_key: given again, it returns the turn of the first time and does nothing. Returns turn_id.';

create function aos_agent.resubmit(turn_id uuid) returns uuid
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_run aos_core.run := aos_agent._lock_turn(resubmit.turn_id);
    v_run_id uuid;
    v_priority smallint;
begin
    perform aos_agent._refuse_other_speaker(c.conversation_id, c.principal_id)
       from aos_agent.conversation as c where c.conversation_id = v_run.conversation_id;
    if v_run.status <> 'failed' then
        raise exception using errcode = 'OS003', message = format('turn %s has not failed, it is %s', v_run.run_id, v_run.status),
            hint = 'aos_agent.dead_letter lists the turns that failed too often; only a turn that failed is tried once more.';
    end if;
    -- After the messages that came meanwhile, were there any: what is said is said in the order of the turns.
    insert into aos_agent.message (tenant_id, conversation_id, content)
    select m.tenant_id, m.conversation_id, m.content from aos_agent.message as m
     where m.conversation_id = v_run.conversation_id and m.run_id = v_run.run_id order by m.message_no;
    v_run_id := aos_agent._start_turn(v_run.conversation_id);
    delete from aos_core.queue as q where q.run_id = v_run.run_id returning q.priority into v_priority;
    perform aos_core._enqueue(v_run_id, v_priority);
    return v_run_id;
end
$$;
comment on function aos_agent.resubmit(uuid) is
    'Queues the messages of a turn that failed once more, as a new turn, and takes it off the dead letters. Returns the new turn_id.';

create view aos_agent.queue as
    select q.run_id as turn_id, a.name as agent_name,
           case when q.died_at is not null then 'dead' when q.worker is not null then 'claimed'
                when q.run_after > clock_timestamp() then 'delayed' else 'waiting' end as status,
           r.status as turn_status, q.priority, q.run_after, q.worker, coalesce(q.died_at, q.claimed_at, q.submitted_at) as since,
           q.lease_until, q.attempt, q.error, q.runner, q.provider, q.conversation_id, q.tenant_id
      from aos_core.queue as q
      join aos_core.run as r on r.run_id = q.run_id and r.tenant_id = q.tenant_id
      join aos_agent.agent as a on a.agent_id = q.agent_id and a.tenant_id = q.tenant_id;
comment on view aos_agent.queue is
    'The turns in the queue: waiting for a worker, delayed (for a later time, after a failure, or for a person), claimed by a worker, or dead.';

create view aos_agent.dead_letter as
    select q.run_id as turn_id, a.name as agent_name, q.died_at, q.attempt as attempts, q.error,
           (select string_agg(m.content, E'\n' order by m.message_no) from aos_agent.message as m
             where m.conversation_id = q.conversation_id and m.run_id = q.run_id) as content,
           q.conversation_id, q.tenant_id
      from aos_core.queue as q
      join aos_agent.agent as a on a.agent_id = q.agent_id and a.tenant_id = q.tenant_id
     where q.died_at is not null;
comment on view aos_agent.dead_letter is
    'The queued turns that failed too often, with the last reason and what had been said. aos_agent.resubmit tries one once more.';

grant select on aos_agent.queue
    to pgagentos_user, pgagentos_developer, pgagentos_approver, pgagentos_worker, pgagentos_auditor, pgagentos_operator;
grant select on aos_agent.dead_letter to pgagentos_user, pgagentos_developer, pgagentos_worker, pgagentos_operator;
grant execute on function aos_agent.submit(uuid, text, integer, timestamptz, text), aos_agent.resubmit(uuid)
    to pgagentos_user, pgagentos_developer, pgagentos_worker, pgagentos_operator;
