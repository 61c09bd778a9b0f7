alter table aos_agent.conversation alter column principal_id set default aos_auth.principal_id();

create function aos_agent._conversation_tenant(conversation_id uuid) returns uuid
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid;
begin
    select c.tenant_id into v_tenant_id from aos_agent.conversation as c where c.conversation_id = _conversation_tenant.conversation_id;
    if not found then
        raise exception using errcode = 'OS002',
            message = format('there is no conversation %s', coalesce(_conversation_tenant.conversation_id::text, 'NULL')),
            hint = 'SELECT aos_agent.open_conversation(agent_name) opens one.';
    end if;
    return v_tenant_id;
end
$$;
comment on function aos_agent._conversation_tenant(uuid) is 'Whose conversation it is; an error when there is none.';

create function aos_agent._refuse_empty(content text) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(content, '') = '' then
        raise exception using errcode = 'OS001', message = 'the message is empty', hint = 'Pass what was said as content.';
    end if;
end
$$;
comment on function aos_agent._refuse_empty(text) is 'Raises an error when a message has no content.';

create function aos_agent._refuse_other_speaker(conversation_id uuid, principal_id uuid) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if _refuse_other_speaker.principal_id is not null
        and _refuse_other_speaker.principal_id is distinct from aos_auth.principal_id()
        and aos_auth._visible_tenant() is distinct from '00000000-0000-0000-0000-000000000000'
    then
        raise exception using errcode = 'insufficient_privilege',
            message = format('conversation %s is somebody else''s', _refuse_other_speaker.conversation_id),
            detail = 'Its tools act for the principal who opened it, so only he speaks in it, and operators.',
            hint = 'Open one of your own; aos_agent.open_conversation and aos_agent.ask do.';
    end if;
end
$$;
comment on function aos_agent._refuse_other_speaker(uuid, uuid) is
    'Raises an error unless the one who acts may speak in a conversation of this principal; null: nobody''s, in which everybody of the tenant may.';

create function aos_agent.open_conversation(agent_name text, title text default null) returns uuid
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_agent aos_agent.agent := aos_agent._agent(open_conversation.agent_name);
    v_conversation_id uuid;
begin
    insert into aos_agent.conversation (agent_id, tenant_id, title)
    values (v_agent.agent_id, v_agent.tenant_id, open_conversation.title)
    returning conversation_id into v_conversation_id;
    return v_conversation_id;
end
$$;
comment on function aos_agent.open_conversation(text, text) is 'Opens a conversation with an agent. Returns conversation_id.';

create function aos_agent.add_user_message(conversation_id uuid, content text) returns uuid
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_message_id uuid;
begin
    perform aos_agent._refuse_empty(add_user_message.content);
    perform aos_agent._refuse_other_speaker(c.conversation_id, c.principal_id)
       from aos_agent.conversation as c where c.conversation_id = add_user_message.conversation_id;
    insert into aos_agent.message (tenant_id, conversation_id, content)
    values (aos_agent._conversation_tenant(add_user_message.conversation_id), add_user_message.conversation_id, add_user_message.content)
    returning message_id into v_message_id;
    return v_message_id;
end
$$;
comment on function aos_agent.add_user_message(uuid, text) is 'Adds what the user said; the next turn answers it. Returns message_id.';
