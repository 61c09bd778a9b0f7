create function aos_agent._lock_conversation(conversation_id uuid, nowait boolean default false) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    -- NO KEY UPDATE: messages may be added meanwhile, a second turn may not start.
    if nowait then
        begin
            perform from aos_agent.conversation as c
              where c.conversation_id = _lock_conversation.conversation_id for no key update nowait;
        exception when lock_not_available then
            raise exception using errcode = 'OS004',
                message = format('conversation %s is busy with another turn', _lock_conversation.conversation_id),
                hint = 'Try again later, or call without nowait to wait for it.';
        end;
    else
        perform from aos_agent.conversation as c
          where c.conversation_id = _lock_conversation.conversation_id for no key update;
    end if;
end
$$;
comment on function aos_agent._lock_conversation(uuid, boolean) is
    'Locks a conversation for the rest of the transaction: one turn at a time. A second caller waits, or fails at once with nowait.';

create function aos_agent._start_turn(conversation_id uuid, content text default null, agent_name text default null) returns uuid
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_agent record;
    v_last record;
    v_run_id uuid := aos_core.new_id();
    v_actor text;
    v_now timestamptz;
    v_version_id uuid;
    v_bytes bigint;
begin
    select c.tenant_id, c.principal_id, a.runner, a.name, a.is_active and t.is_active as is_active, v.persona_version_id, p as persona,
           m.is_active as model_is_active, m.model_name, m.provider, d.api_key_env is null and d.secret_name is null as needs_no_key
      into v_agent
      from aos_agent.conversation as c
      join aos_agent.agent as a on a.agent_id = c.agent_id and a.tenant_id = c.tenant_id
      join aos_auth.tenant as t on t.tenant_id = c.tenant_id
      join aos_persona.persona as p on p.persona_id = a.persona_id and p.tenant_id = a.tenant_id
      join aos_meta.llm_model_registry as m on m.model_id = p.model_id
      join aos_meta.provider as d on d.provider = m.provider
      left join aos_persona.persona_version as v
             on v.persona_id = p.persona_id and v.version_no = p.version_no and v.tenant_id = p.tenant_id
     where c.conversation_id = _start_turn.conversation_id
       for no key update of c;  -- one turn at a time; messages may be added meanwhile
    if not found then
        perform aos_agent._conversation_tenant(_start_turn.conversation_id);  -- raises
    elsif v_agent.name <> _start_turn.agent_name then
        raise exception using errcode = 'OS001',
            message = format('conversation %s is with agent %L, not with %L', conversation_id, v_agent.name, agent_name),
            hint = 'Leave conversation_id out to open a new one.';
    elsif not v_agent.is_active then
        raise exception using errcode = 'OS003', message = format('agent %L is not active', v_agent.name),
            hint = 'Set is_active of the agent and of its tenant.';
    elsif not v_agent.model_is_active then
        raise exception using errcode = 'OS003', message = format('model %L is not active', v_agent.model_name),
            hint = 'Give the persona another model, or set is_active in aos_meta.llm_model_registry.';
    elsif _start_turn.content is not null and v_agent.principal_id is not null then
        perform aos_agent._refuse_other_speaker(_start_turn.conversation_id, v_agent.principal_id);
    end if;
    -- A statement of its own: it sees what was committed while this one waited for the lock.
    select r.run_id, r.turn_no, r.status, coalesce(r.event_no, 0) + 1 as next_event_no, r.event_hash,
           exists (select from aos_agent.message as m where m.conversation_id = _start_turn.conversation_id and m.run_id is null) as has_messages
      into v_last
      from (select) as always
      left join lateral (select r.run_id, r.turn_no, r.status, r.event_no, r.event_hash from aos_core.run as r
                          where r.conversation_id = _start_turn.conversation_id order by r.turn_no desc limit 1) as r on true;
    if v_last.status not in ('completed', 'failed', 'cancelled') then
        raise exception using errcode = 'OS003',
            message = format('turn %s of this conversation is not finished, it is %s', v_last.run_id, v_last.status),
            hint = format('Go on with SELECT aos_agent.run_turn(%L), or end it with SELECT aos_agent.cancel_turn(%1$L).', v_last.run_id);
    elsif _start_turn.content is null and not v_last.has_messages then
        raise exception using errcode = 'OS003', message = 'the conversation has no new message',
            hint = format('SELECT aos_agent.add_user_message(%L, ''...'') first.', _start_turn.conversation_id);
    end if;
    v_version_id := v_agent.persona_version_id;
    if v_version_id is null then
        v_version_id := aos_persona._version_of(v_agent.persona);
    end if;
    v_actor := aos_auth.actor();
    v_now := clock_timestamp();
    with started as (
        insert into aos_core.run (run_id, tenant_id, conversation_id, persona_version_id, turn_no, event_no, event_hash, runner, status,
            transcript_bytes, waiting_reason)
        select v_run_id, v_agent.tenant_id, _start_turn.conversation_id, v_version_id, coalesce(v_last.turn_no, 0) + 1, v_last.next_event_no,
               aos_core._event_hash(v_last.event_hash, v_last.next_event_no, v_now, _start_turn.conversation_id, v_agent.tenant_id, v_run_id,
                   'turn_started', v_actor, null),
               w.runner, case w.runner when 'external' then 'awaiting_model' else 'queued' end, octet_length(coalesce(_start_turn.content, '')),
               case when w.runner = 'external' then case v_agent.runner
                   when 'external' then 'the agent is run by an outside worker'
                   else format('the database has no key for provider %s', v_agent.provider) end end
          from (select case when v_agent.runner <> 'auto' then v_agent.runner
                            when v_agent.needs_no_key or aos_meta._has_api_key(v_agent.provider, v_agent.tenant_id) then 'database'
                            else 'external' end as runner) as w
        returning event_hash
    ),
    said as (
        insert into aos_agent.message (tenant_id, conversation_id, run_id, content)
        select v_agent.tenant_id, _start_turn.conversation_id, v_run_id, _start_turn.content
         where _start_turn.content is not null
    )
    insert into aos_core.event_log (created_at, event_no, chain_id, tenant_id, run_id, event_type, actor, hash)
    select v_now, v_last.next_event_no, _start_turn.conversation_id, v_agent.tenant_id, v_run_id, 'turn_started', v_actor, s.event_hash
      from started as s;
    if v_last.has_messages then
        with answered as (
            update aos_agent.message as m set run_id = v_run_id
             where m.conversation_id = _start_turn.conversation_id and m.run_id is null
            returning octet_length(m.content) as bytes
        )
        select sum(bytes) into v_bytes from answered;
        update aos_core.run as r set transcript_bytes = r.transcript_bytes + v_bytes where r.run_id = v_run_id;
    end if;
    return v_run_id;
end
$$;
comment on function aos_agent._start_turn(uuid, text, text) is
    'Starts a turn on the messages that no turn has answered yet, and on this new one if given. agent_name: whose conversation it has to be. Returns turn_id.';

create function aos_agent._enqueue_outside(run_id uuid) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    -- Not a turn that fell to a worker because the database has no key: whoever started that drives it himself, or submits.
    if exists (select from aos_core.run as r
                 join aos_agent.conversation as c on c.conversation_id = r.conversation_id and c.tenant_id = r.tenant_id
                 join aos_agent.agent as a on a.agent_id = c.agent_id and a.tenant_id = c.tenant_id
                where r.run_id = _enqueue_outside.run_id and a.runner = 'external')
    then
        perform aos_core._enqueue(_enqueue_outside.run_id);
    end if;
end
$$;
comment on function aos_agent._enqueue_outside(uuid) is 'Puts a turn that was just started into the queue when its agent is run by outside workers.';

create function aos_agent.start_turn(conversation_id uuid) returns uuid
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_run_id uuid := aos_agent._start_turn(start_turn.conversation_id);
begin
    perform aos_agent._enqueue_outside(v_run_id);
    return v_run_id;
end
$$;
comment on function aos_agent.start_turn(uuid) is
    'Starts a turn on the messages that no turn has answered yet. Returns turn_id, for run_turn.';

create function aos_agent.run_turn(turn_id uuid, nowait boolean default false) returns jsonb
    language plpython3u volatile security definer set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'agent.run_turn', turn_id, nowait)
$$;
comment on function aos_agent.run_turn(uuid, boolean) is
    'Takes a turn as far as it can go: to its answer, to an approval, or, for a turn driven from outside, to the payload to call the model with. A finished turn returns its stored answer. nowait: an error at once when the conversation is busy.';

create function aos_agent.ask(agent_name text, content text, conversation_id uuid default null) returns text
    language plpython3u volatile security definer set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'agent.ask', agent_name, content, conversation_id)
$$;
comment on function aos_agent.ask(text, text, uuid) is
    'Says something to an agent and returns its answer. A turn that does not complete returns null with a WARNING that names it.';
