create view aos_core.runs as
    select r.conversation_id, count(*) as turns, (array_agg(r.status order by r.turn_no desc))[1] as last_status,
           sum(r.model_calls) as model_calls, sum(r.input_tokens) as input_tokens, sum(r.cached_tokens) as cached_tokens,
           sum(r.output_tokens) as output_tokens, sum(r.cost) as cost, min(r.started_at) as started_at,
           max(r.finished_at) as finished_at, r.tenant_id
      from aos_core.run as r
     group by r.conversation_id, r.tenant_id;
comment on view aos_core.runs is 'One row a conversation: how many turns it had, what they used and cost, and how the last one stands.';

create view aos_core.steps as
    select r.conversation_id, r.turn_no, s.step_no, s.kind, s.status, s.tool_name, s.arguments, s.message ->> 'content' as content,
           s.input_tokens, s.output_tokens, s.cost, s.attempts, s.finished_at - s.started_at as duration,
           s.error, s.run_id, s.step_id, s.tenant_id
      from aos_core.step as s
      join aos_core.run as r on r.run_id = s.run_id and r.tenant_id = s.tenant_id;
comment on view aos_core.steps is 'The thoughts and actions of all turns, readable: model calls and tool calls with their content.';
