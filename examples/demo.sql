-- A shop's order desk: one agent, two SQL functions as its tools, one turn. scripts/demo runs this file; by hand:
--   psql -v provider=local -v base_url=http://127.0.0.1:8091 -f examples/demo.sql
-- provider: local, openai, anthropic or gemini. base_url: where the local model server listens, empty for the others.
\set ON_ERROR_STOP 1
\pset footer off

-- The business data.
create table if not exists public.orders (
    order_id integer primary key,
    customer text not null,
    status text not null check (status in ('paid', 'shipped', 'cancelled')),
    total numeric(10, 2) not null,
    carrier text,
    tracking_number text,
    ordered_on date not null
);
insert into public.orders values
    (1001, 'Ada Kim', 'paid', 42.00, null, null, '2026-11-16'),
    (1002, 'Ben Ode', 'shipped', 118.50, 'DHL', 'JD014600003', '2026-11-17'),
    (1003, 'Sara Lopez', 'cancelled', 12.90, null, null, '2026-11-17'),
    (1004, 'Lee Min-ho', 'shipped', 64.00, 'UPS', '1Z999AA10123', '2026-11-19'),
    (1005, 'Noor Haddad', 'shipped', 250.00, 'DHL', 'JD014600017', '2026-11-20')
on conflict do nothing;

-- The agent never has your rights, only those of its own database role.
grant select on public.orders to pgagentos_agent;

-- The tools: a function's signature becomes the JSON Schema, its comment what the model reads.
create or replace function public.order_status(order_id integer) returns json
    language sql stable
return (select json_strip_nulls(row_to_json(o)) from public.orders as o where o.order_id = order_status.order_id);
comment on function public.order_status(integer) is
    'Look up one order by its number: who ordered it, its status (paid, shipped or cancelled), total, carrier and tracking number. Use it for every question that names an order number.';

do $$
begin
    create type public.order_state as enum ('paid', 'shipped', 'cancelled');
exception when duplicate_object then
    null;
end
$$;
create or replace function public.count_orders(status public.order_state) returns bigint
    language sql stable
return (select count(*) from public.orders as o where o.status = count_orders.status::text);
comment on function public.count_orders(public.order_state) is
    'Count all orders of the shop that have a given status. It says nothing about a single order.';

select aos_skills.register_function('public.order_status(integer)') as order_status,
       aos_skills.register_function('public.count_orders(public.order_state)') as count_orders \gset

-- The agent.
update aos_meta.provider set base_url = :'base_url' || '/v1' where provider = 'local' and :'base_url' <> '';
insert into aos_auth.tenant (name, display_name) values ('demo_shop', 'Demo Shop') on conflict do nothing;
insert into aos_persona.persona (tenant_id, name, system_prompt, model_id, params)
select t.tenant_id, 'order_desk',
       'You answer questions about the orders of a small shop. Look facts up with the tools; never guess. '
       'Answer in one short sentence, in the language of the question.',
       m.model_id, '{"max_output_tokens": 256}'
  from aos_auth.tenant as t, aos_meta.llm_model_registry as m
 where t.name = 'demo_shop'
   and m.model_name = case :'provider' when 'openai' then 'gpt-4o-mini' when 'anthropic' then 'claude-haiku-4-5'
                           when 'gemini' then 'gemini-3.5-flash' else 'qwen2.5-coder-1.5b' end
on conflict (tenant_id, name) do update set model_id = excluded.model_id;
insert into aos_agent.agent (tenant_id, name, persona_id)
select p.tenant_id, 'order_helper', p.persona_id from aos_persona.persona as p where p.name = 'order_desk'
on conflict do nothing;
select aos_agent.grant_skill('order_helper', 'order_status'), aos_agent.grant_skill('order_helper', 'count_orders') \g /dev/null

-- One turn: the model asks for a tool, the tool reads the table, the model answers, and all of it is one transaction.
select aos_agent.open_conversation('order_helper') as conversation_id \gset
\echo
\echo 'SELECT aos_agent.ask(''order_helper'', ''Which carrier has order 1002, and what is its tracking number?'');'
select aos_agent.ask('order_helper', 'Which carrier has order 1002, and what is its tracking number?', :'conversation_id') as answer;

\echo 'The conversation, as the database keeps it:'
select turn_no as turn, step_no as step, role, coalesce(tool_name, '') as tool, content
  from aos_agent.transcript where conversation_id = :'conversation_id' order by turn_no, step_no, message_no;

\echo 'Its steps:'
select s.turn_no as turn, s.step_no as step, s.kind, s.status, coalesce(s.tool_name, m.model_name) as "tool or model",
       s.arguments, s.input_tokens as "in", s.output_tokens as "out", round(extract(epoch from s.duration), 2) as seconds
  from aos_core.steps as s
  left join aos_core.step as r on r.step_id = s.step_id
  left join aos_meta.llm_model_registry as m on m.model_id = r.model_id
 where s.conversation_id = :'conversation_id' order by s.turn_no, s.step_no;

\echo 'Ask on in the same conversation:'
\qecho '  ' SELECT aos_agent.ask('''order_helper''', '''How many orders have been shipped?''', :'conversation_id');
