-- The event log: who writes into it and how its entries are chained. docs/audit.md says what the chains prove.

alter table aos_core.event_log alter column actor set default aos_auth.actor();

create function aos_core._event_hash(previous bytea, event_no integer, created_at timestamptz, chain_id uuid, tenant_id uuid, run_id uuid,
        event_type text, actor text, detail jsonb) returns bytea
    language sql stable parallel safe
-- Text that no setting of the session changes: the time as microseconds since 1970, the rest as jsonb writes it.
return sha256(coalesce(previous, '') || convert_to(jsonb_build_array(chain_id, event_no, (extract(epoch from created_at) * 1000000)::bigint,
    tenant_id, run_id, event_type, actor, detail)::text, 'UTF8'));
comment on function aos_core._event_hash(bytea, integer, timestamptz, uuid, uuid, uuid, text, text, jsonb) is
    'The hash of an entry of the event log that follows the entry with the hash previous; null: it is the first of its chain.';

create function aos_core._log(tenant_id uuid, conversation_id uuid, run_id uuid, event_type text, detail jsonb default null) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_nobody constant uuid := uuid '00000000-0000-0000-0000-000000000000';
    v_tenant_id uuid := coalesce(_log.tenant_id, v_nobody);
    v_chain_id uuid := _log.conversation_id;
    v_actor text := aos_auth.actor();
    v_now timestamptz := clock_timestamp();
    v_detail jsonb := _log.detail;
    v_no integer;
    v_hash bytea;
begin
    -- Of a conversation, whose lock is held: its latest run keeps the head of its chain.
    update aos_core.run as r
       set event_no = r.event_no + 1,
           event_hash = aos_core._event_hash(r.event_hash, r.event_no + 1, v_now, v_chain_id, v_tenant_id, _log.run_id, _log.event_type,
               v_actor, v_detail)
     where r.run_id = (select l.run_id from aos_core.run as l where l.conversation_id = v_chain_id order by l.turn_no desc limit 1)
    returning r.event_no, r.event_hash into v_no, v_hash;
    if not found then
        if v_chain_id is not null then  -- a conversation that is gone, or that had no turn yet
            v_detail := jsonb_build_object('conversation_id', v_chain_id) || coalesce(v_detail, '{}');
        end if;
        v_chain_id := v_tenant_id;
        insert into aos_core.event_head (tenant_id) values (v_tenant_id) on conflict on constraint event_head_pkey do nothing;
        perform from aos_core.event_head as h where h.tenant_id = v_tenant_id for update;
        v_now := clock_timestamp();  -- as late as it is our turn
        update aos_core.event_head as h
           set event_no = h.event_no + 1,
               event_hash = aos_core._event_hash(h.event_hash, h.event_no + 1, v_now, v_chain_id, v_tenant_id, _log.run_id,
                   _log.event_type, v_actor, v_detail)
         where h.tenant_id = v_tenant_id
        returning h.event_no, h.event_hash into v_no, v_hash;
    end if;
    insert into aos_core.event_log (created_at, event_no, chain_id, tenant_id, run_id, event_type, actor, detail, hash)
    values (v_now, v_no, v_chain_id, v_tenant_id, _log.run_id, _log.event_type, v_actor, v_detail, v_hash);
end
$$;
comment on function aos_core._log(uuid, uuid, uuid, text, jsonb) is
    'Appends an event to the log: to the chain of the conversation, which the caller has locked; without one, to the chain of the tenant, of which the row is locked to the end of the transaction; without a tenant, to the operators'' own. detail holds ids, counts and hashes, never content.';

create function aos_core._refuse_change() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = 'OS003',
        message = format('the %s is append-only', case tg_argv[0] when 'seal' then 'list of seals' else 'event log' end),
        hint = 'aos_core.maintain_event_log(keep => ''2 years'') lets go of whole months that are over.';
end
$$;
comment on function aos_core._refuse_change() is 'Trigger: events and their seals are never changed or deleted.';

-- Always: they also fire where a session has set session_replication_role.
create trigger refuse_change before update or delete on aos_core.event_log
    for each row execute function aos_core._refuse_change();
alter table aos_core.event_log enable always trigger refuse_change;
create trigger refuse_truncate before truncate on aos_core.event_log
    for each statement execute function aos_core._refuse_change();
alter table aos_core.event_log enable always trigger refuse_truncate;
create trigger refuse_truncate before truncate on aos_core.event_log_default
    for each statement execute function aos_core._refuse_change();
alter table aos_core.event_log_default enable always trigger refuse_truncate;
create trigger refuse_change before update or delete on aos_core.event_seal
    for each row execute function aos_core._refuse_change('seal');
alter table aos_core.event_seal enable always trigger refuse_change;
create trigger refuse_truncate before truncate on aos_core.event_seal
    for each statement execute function aos_core._refuse_change('seal');
alter table aos_core.event_seal enable always trigger refuse_truncate;

create function aos_core._log_deletion() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp set row_security = on
as $$
begin
    -- The last turn of a conversation takes the head of its chain of events along: the tenant's chain keeps it.
    perform aos_core._log(h.tenant_id, null, null, 'conversation_deleted', jsonb_build_object('conversation_id', h.conversation_id,
                'turns', h.turn_no, 'event_no', h.event_no, 'event_hash', encode(h.event_hash, 'hex')))
       from (select distinct on (g.conversation_id) g.* from gone as g order by g.conversation_id, g.turn_no desc) as h
      where not exists (select from aos_core.run as r where r.conversation_id = h.conversation_id);
    return null;
end
$$;
comment on function aos_core._log_deletion() is 'Trigger: the deletion of a conversation that had turns is an event.';

create trigger log_deletion after delete on aos_core.run referencing old table as gone
    for each statement execute function aos_core._log_deletion();

create function aos_core._log_change() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp set row_security = on
as $$
declare
    v_old jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
    v_new jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) end;
    v_row jsonb := coalesce(v_new, v_old);
    v_detail jsonb;
begin
    if v_old is not distinct from v_new then
        return null;
    end if;
    select coalesce(jsonb_object_agg(c.name, v_row -> c.name), '{}') into v_detail
      from unnest(tg_argv) as c (name) where v_row ->> c.name is not null;
    if tg_op = 'UPDATE' then
        v_detail := v_detail || jsonb_build_object('changed', (select jsonb_agg(n.key order by n.key)
            from jsonb_each(v_new) as n where n.value is distinct from v_old -> n.key));
    end if;
    perform aos_core._log((v_row ->> 'tenant_id')::uuid, null, null,
        tg_table_name || case tg_op when 'INSERT' then '_added' when 'UPDATE' then '_changed' else '_removed' end, v_detail);
    return null;
end
$$;
comment on function aos_core._log_change() is
    'Trigger: a change of who may what is an event. Its arguments are the columns that the event shows: ids and settings, never names or content.';
