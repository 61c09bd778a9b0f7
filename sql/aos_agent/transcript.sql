create view aos_agent.transcript as
    select m.conversation_id, r.turn_no, 0 as step_no, m.message_no, 'user' as role, null as tool_name, m.content, m.created_at, m.tenant_id
      from aos_agent.message as m
      left join aos_core.run as r on r.run_id = m.run_id and r.tenant_id = m.tenant_id
    union all
    select r.conversation_id, r.turn_no, s.step_no, null,
           case s.kind when 'model' then 'assistant' else 'tool' end, s.tool_name,
           case when coalesce(s.message ->> 'content', '') <> '' then s.message ->> 'content'
                when s.kind = 'model' then (s.message -> 'tool_calls')::text end,
           s.finished_at, s.tenant_id
      from aos_core.step as s
      join aos_core.run as r on r.run_id = s.run_id and r.tenant_id = s.tenant_id
     where s.message is not null;
comment on view aos_agent.transcript is 'Both sides of every conversation. ORDER BY turn_no, step_no, message_no; a message without turn_no waits for its turn.';
