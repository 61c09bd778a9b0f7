create table aos_agent.budget (
    budget_id uuid not null default gen_random_uuid(),
    tenant_id uuid not null,
    agent_id uuid,
    conversation_id uuid,
    period text not null,
    max_tokens bigint,
    max_cost numeric,
    set_by_operator boolean not null
        default coalesce(aos_auth._visible_tenant() = '00000000-0000-0000-0000-000000000000', false),
    created_at timestamptz not null default now(),
    constraint budget_pkey primary key (budget_id, tenant_id),
    constraint budget_belongs_to_a_tenant foreign key (tenant_id) references aos_auth.tenant (tenant_id) on delete cascade,
    constraint budget_names_an_agent foreign key (agent_id, tenant_id) references aos_agent.agent (agent_id, tenant_id) on delete cascade,
    constraint budget_names_a_conversation foreign key (conversation_id, tenant_id)
        references aos_agent.conversation (conversation_id, tenant_id) on delete cascade,
    constraint budget_has_one_scope check (agent_id is null or conversation_id is null),
    constraint budget_period_is_known check (period in ('turn', 'day', 'month', 'total')),
    constraint only_conversations_have_a_budget_in_total check (period <> 'total' or conversation_id is not null),
    constraint budget_limits_something check (max_tokens is not null or max_cost is not null),
    constraint budget_is_not_negative check (max_tokens >= 0 and max_cost >= 0)
);
-- The tenant first: a turn asks whether its tenant has any budget at all.
create unique index budget_is_the_only_one_of_its_scope on aos_agent.budget (tenant_id,
    coalesce(agent_id, '00000000-0000-0000-0000-000000000000'), coalesce(conversation_id, '00000000-0000-0000-0000-000000000000'),
    period, set_by_operator);
create index budget_agent on aos_agent.budget (agent_id) where agent_id is not null;
create index budget_conversation on aos_agent.budget (conversation_id) where conversation_id is not null;
comment on table aos_agent.budget is
    'What turns may use: of a tenant, of one agent or of one conversation. A turn that any of them leaves nothing ends as failed (OS115) before its next model call.';
comment on column aos_agent.budget.agent_id is 'Of this agent; null: of all agents of the tenant, or of one conversation.';
comment on column aos_agent.budget.conversation_id is 'Of this conversation alone; null: of all.';
comment on column aos_agent.budget.period is
    'turn: each turn has it anew. day, month: of the calendar in UTC. total: as long as the conversation exists.';
comment on column aos_agent.budget.max_tokens is 'Most tokens, input and output; null: as many as max_cost pays for.';
comment on column aos_agent.budget.max_cost is 'Most US dollars, by the prices in the registry; null: whatever max_tokens cost.';
comment on column aos_agent.budget.set_by_operator is
    'True: only an operator changes it. False: the tenant''s developers do. Both kinds hold, so a developer can only make it stricter.';

-- A row is changed by one transaction at a time and nobody waits for it: who finds all rows of his day taken adds one.
create table aos_agent.usage (
    usage_id uuid not null default aos_core.new_id(),
    tenant_id uuid not null,
    agent_id uuid not null,
    day date not null,
    tokens bigint not null,
    cost numeric not null,
    constraint usage_pkey primary key (usage_id, tenant_id),
    constraint usage_belongs_to_a_tenant foreign key (tenant_id) references aos_auth.tenant (tenant_id)
        on delete cascade deferrable initially deferred
) with (fillfactor = 50);
create index usage_day on aos_agent.usage (tenant_id, day, agent_id);
comment on table aos_agent.usage is
    'What the turns of tenants with a budget have used, by agent and day in UTC; several rows a day where turns ran at the same time. It outlives the agent and the conversations.';
comment on column aos_agent.usage.tokens is 'Input and output.';
comment on column aos_agent.usage.cost is 'US dollars; calls of models without prices count as nothing.';

alter table aos_agent.budget enable row level security;
alter table aos_agent.budget force row level security;
create policy tenant on aos_agent.budget
    using ((select aos_auth._visible_tenant()) = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']));
create policy developer_adds on aos_agent.budget as restrictive for insert with check (
    (select aos_auth._visible_tenant()) = '00000000-0000-0000-0000-000000000000'
    or (not set_by_operator and (select aos_auth.has_access('developer'))));
create policy developer_changes on aos_agent.budget as restrictive for update using (
    (select aos_auth._visible_tenant()) = '00000000-0000-0000-0000-000000000000'
    or (not set_by_operator and (select aos_auth.has_access('developer'))));
create policy developer_deletes on aos_agent.budget as restrictive for delete using (
    (select aos_auth._visible_tenant()) = '00000000-0000-0000-0000-000000000000'
    or (not set_by_operator and (select aos_auth.has_access('developer'))));
alter table aos_agent.usage enable row level security;
alter table aos_agent.usage force row level security;
create policy tenant on aos_agent.usage
    using ((select aos_auth._visible_tenant()) = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']));

create view aos_agent.budget_left as
    select b.budget_id, b.tenant_id, b.agent_id,
           case when b.agent_id is not null then
               (select a.name from aos_agent.agent as a where a.agent_id = b.agent_id and a.tenant_id = b.tenant_id) end as agent_name,
           b.conversation_id, b.period, b.set_by_operator,
           b.max_tokens, u.tokens as used_tokens,
           case when b.max_tokens is not null then greatest(b.max_tokens - coalesce(u.tokens, 0), 0) end as tokens_left,
           b.max_cost, u.cost as used_cost,
           case when b.max_cost is not null then greatest(b.max_cost - coalesce(u.cost, 0), 0) end as cost_left,
           p.first_day::timestamp at time zone 'UTC' as starts_at,
           (p.first_day + case b.period when 'day' then interval '1 day' when 'month' then interval '1 month' end) at time zone 'UTC' as resets_at
      from aos_agent.budget as b
      cross join lateral (
          select case when b.period in ('day', 'month') then date_trunc(b.period, clock_timestamp() at time zone 'UTC')::date end as first_day) as p
      left join lateral (
          select coalesce(sum(x.tokens), 0)::bigint as tokens, coalesce(sum(x.cost), 0) as cost
            from (select g.tokens, g.cost
                    from aos_agent.usage as g
                   where b.conversation_id is null and g.tenant_id = b.tenant_id and g.day >= p.first_day
                     and (b.agent_id is null or g.agent_id = b.agent_id)
                  union all
                  select r.input_tokens + r.output_tokens, r.cost
                    from aos_core.run as r
                   where b.period <> 'turn' and r.conversation_id = b.conversation_id and r.tenant_id = b.tenant_id
                     and (b.period = 'total' or coalesce(r.finished_at, clock_timestamp()) >= p.first_day::timestamp at time zone 'UTC')) as x
      ) as u on b.period <> 'turn';
comment on view aos_agent.budget_left is
    'What is left of each budget. What turns have used that are not committed yet is not in it.';
comment on column aos_agent.budget_left.used_tokens is 'Since starts_at; null for the period turn, which each turn has anew.';
comment on column aos_agent.budget_left.resets_at is 'When it starts anew; null for the periods turn and total.';

create function aos_agent._begin_counting() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp set row_security = on
as $$
declare
    v_tenant_id uuid;
begin
    -- Rows with another date come from a dump, which holds what was counted.
    for v_tenant_id in select distinct a.tenant_id from added as a where a.created_at = now() order by a.tenant_id loop
        perform from aos_auth.tenant as t where t.tenant_id = v_tenant_id for no key update;  -- two first budgets at once count once
        continue when exists (select from aos_agent.budget as b
                               where b.tenant_id = v_tenant_id and b.budget_id not in (select a.budget_id from added as a));
        -- What was counted under an earlier budget stays: its conversations may be gone.
        insert into aos_agent.usage (tenant_id, agent_id, day, tokens, cost)
        select v_tenant_id, n.agent_id, n.day, greatest(n.tokens - coalesce(u.tokens, 0), 0), greatest(n.cost - coalesce(u.cost, 0), 0)
          from (select c.agent_id, (coalesce(r.finished_at, r.started_at) at time zone 'UTC')::date as day,
                       sum(r.input_tokens + r.output_tokens) as tokens, coalesce(sum(r.cost), 0) as cost
                  from aos_core.run as r
                  join aos_agent.conversation as c on c.conversation_id = r.conversation_id and c.tenant_id = r.tenant_id
                 where r.tenant_id = v_tenant_id
                   and coalesce(r.finished_at, r.started_at) >= date_trunc('month', clock_timestamp() at time zone 'UTC') at time zone 'UTC'
                 group by 1, 2) as n
          left join (select g.agent_id, g.day, sum(g.tokens) as tokens, sum(g.cost) as cost
                       from aos_agent.usage as g where g.tenant_id = v_tenant_id group by 1, 2) as u
                 on u.agent_id = n.agent_id and u.day = n.day
         where n.tokens > coalesce(u.tokens, 0) or n.cost > coalesce(u.cost, 0);
    end loop;
    return null;
end
$$;
comment on function aos_agent._begin_counting() is
    'Trigger: the first budget of a tenant counts what its turns have used in the running month.';

create trigger begin_counting after insert on aos_agent.budget
    referencing new table as added for each statement execute function aos_agent._begin_counting();

create function aos_agent.set_budget(period text, max_tokens bigint default null, max_cost numeric default null,
        agent_name text default null, conversation_id uuid default null, tenant_name text default null) returns uuid
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_is_operator constant boolean := coalesce(aos_auth._visible_tenant() = '00000000-0000-0000-0000-000000000000', false);
    v_tenant_id uuid := aos_auth.tenant_id();
    v_agent_id uuid;
    v_budget_id uuid;
begin
    perform aos_auth._require('developer');
    if set_budget.period is null or set_budget.period not in ('turn', 'day', 'month', 'total') then
        raise exception using errcode = 'OS001', message = format('there is no period %L', set_budget.period),
            hint = 'Use turn, day or month; for one conversation also total.';
    end if;
    if set_budget.tenant_name is not null then
        select t.tenant_id into v_tenant_id from aos_auth.tenant as t where t.name = set_budget.tenant_name;
        if not found then
            raise exception using errcode = 'OS002', message = format('there is no tenant %L', set_budget.tenant_name),
                hint = 'SELECT name FROM aos_auth.tenant lists the tenants.';
        end if;
    end if;
    if set_budget.conversation_id is not null then
        v_tenant_id := aos_agent._conversation_tenant(set_budget.conversation_id);
    elsif set_budget.agent_name is not null then
        if v_tenant_id is null then
            select a.agent_id, a.tenant_id into v_agent_id, v_tenant_id from aos_agent._agent(set_budget.agent_name) as a;
        else
            select a.agent_id into v_agent_id from aos_agent.agent as a
             where a.name = set_budget.agent_name and a.tenant_id = v_tenant_id;
            if not found then
                raise exception using errcode = 'OS002', message = format('there is no agent %L', set_budget.agent_name),
                    hint = 'SELECT name FROM aos_agent.agent lists the agents.';
            end if;
        end if;
    elsif v_tenant_id is null then
        raise exception using errcode = 'OS001', message = 'whose budget is it',
            hint = 'Pass tenant_name, agent_name or conversation_id.';
    end if;
    if set_budget.max_tokens is null and set_budget.max_cost is null then
        delete from aos_agent.budget as b
         where b.tenant_id = v_tenant_id and b.agent_id is not distinct from v_agent_id and b.period = set_budget.period
           and b.conversation_id is not distinct from set_budget.conversation_id and b.set_by_operator = v_is_operator;
        return null;
    end if;
    insert into aos_agent.budget as b (tenant_id, agent_id, conversation_id, period, max_tokens, max_cost, set_by_operator)
    values (v_tenant_id, v_agent_id, set_budget.conversation_id, set_budget.period, set_budget.max_tokens, set_budget.max_cost, v_is_operator)
    on conflict (tenant_id, coalesce(agent_id, '00000000-0000-0000-0000-000000000000'),
                 coalesce(conversation_id, '00000000-0000-0000-0000-000000000000'), period, set_by_operator)
        do update set max_tokens = excluded.max_tokens, max_cost = excluded.max_cost
    returning b.budget_id into v_budget_id;
    return v_budget_id;
end
$$;
comment on function aos_agent.set_budget(text, bigint, numeric, text, uuid, text) is
    'Sets what may be used in a period (turn, day, month, total) by an agent, a conversation, or the tenant when neither is named; tenant_name: needed by an operator. With neither max_tokens nor max_cost the budget is taken away. Returns budget_id.';

create function aos_agent.compact_usage() returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_rows bigint;
begin
    with several as (
        select g.tenant_id, g.agent_id, g.day from aos_agent.usage as g group by 1, 2, 3 having count(*) > 1
    ),
    free as (
        select g.usage_id from aos_agent.usage as g
         where (g.tenant_id, g.agent_id, g.day) in (select s.tenant_id, s.agent_id, s.day from several as s)
           for update skip locked
    ),
    gone as (
        delete from aos_agent.usage as g using free as f where g.usage_id = f.usage_id
        returning g.tenant_id, g.agent_id, g.day, g.tokens, g.cost
    ),
    merged as (
        insert into aos_agent.usage (tenant_id, agent_id, day, tokens, cost)
        select g.tenant_id, g.agent_id, g.day, sum(g.tokens), sum(g.cost) from gone as g group by 1, 2, 3
        returning usage_id
    )
    select (select count(*) from gone) - (select count(*) from merged) into v_rows;
    return v_rows;
end
$$;
comment on function aos_agent.compact_usage() is
    'Leaves one row of aos_agent.usage for an agent and a day. Rows that a turn has just changed are passed over; no turn waits. Returns how many rows went.';

select pg_catalog.pg_extension_config_dump('aos_agent.budget', '');
select pg_catalog.pg_extension_config_dump('aos_agent.usage', '');

grant select on aos_agent.budget, aos_agent.budget_left, aos_agent.usage
    to pgagentos_user, pgagentos_developer, pgagentos_approver, pgagentos_worker, pgagentos_auditor, pgagentos_operator;
-- Not created_at: rows of another date are taken for a dump's, and nothing is counted for them.
grant insert (tenant_id, agent_id, conversation_id, period, max_tokens, max_cost, set_by_operator), delete, update (max_tokens, max_cost)
    on aos_agent.budget to pgagentos_developer;
grant insert, delete, update (max_tokens, max_cost) on aos_agent.budget to pgagentos_operator;
grant execute on function aos_agent.set_budget(text, bigint, numeric, text, uuid, text) to pgagentos_developer, pgagentos_operator;
grant execute on function aos_agent.compact_usage() to pgagentos_operator;
