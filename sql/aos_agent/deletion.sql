create function aos_agent._log_deletion() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp set row_security = on
as $$
declare
    v_head record;
begin
    -- Its turns go with it, and with them the head of its chain of events: that is recorded in the tenant's chain.
    select r.event_no, r.event_hash, count(*) over () as turns into v_head
      from aos_core.run as r
     where r.conversation_id = old.conversation_id and r.tenant_id = old.tenant_id
     order by r.turn_no desc limit 1;
    if found then
        perform aos_core._log(old.tenant_id, null, null, 'conversation_deleted', jsonb_build_object('conversation_id', old.conversation_id,
            'turns', v_head.turns, 'event_no', v_head.event_no, 'event_hash', encode(v_head.event_hash, 'hex')));
    end if;
    return old;
end
$$;
comment on function aos_agent._log_deletion() is 'Trigger: the deletion of a conversation that had turns is an event.';

create trigger log_deletion before delete on aos_agent.conversation for each row execute function aos_agent._log_deletion();
