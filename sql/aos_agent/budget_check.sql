-- What the view says, in small statements: it is read in every turn of a tenant with a budget.
create function aos_agent._shared_use(tenant_id uuid, agent_id uuid) returns json
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_day constant date := (clock_timestamp() at time zone 'UTC')::date;
begin
    return (select json_build_object('transaction', pg_current_xact_id()::text, 'snapshot', pg_current_snapshot()::text,
            'tenant month', json_build_array(sum(u.tokens), sum(u.cost)),
            'tenant day', json_build_array(sum(u.tokens) filter (where u.day >= v_day), sum(u.cost) filter (where u.day >= v_day)),
            'agent month', json_build_array(sum(u.tokens) filter (where u.agent_id = _shared_use.agent_id),
                sum(u.cost) filter (where u.agent_id = _shared_use.agent_id)),
            'agent day', json_build_array(sum(u.tokens) filter (where u.agent_id = _shared_use.agent_id and u.day >= v_day),
                sum(u.cost) filter (where u.agent_id = _shared_use.agent_id and u.day >= v_day)))
       from aos_agent.usage as u
      where u.tenant_id = _shared_use.tenant_id and u.day >= v_day - (extract(day from v_day)::integer - 1));
end
$$;
comment on function aos_agent._shared_use(uuid, uuid) is
    'What the turns of a tenant, and of one of its agents, have used this month and today, as the snapshot shows it: [tokens, cost] each.';

create function aos_agent._budgets_of(tenant_id uuid, agent_id uuid, agent_name text, conversation_id uuid, model_id uuid, fallback_model_id uuid,
        turn_tokens integer, turn_cost numeric) returns json
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_limits json;
    v_shared json;
    v_conversation json;
    v_unpriced text;
    v_is_shared boolean;
    v_is_conversations boolean;
    v_is_in_money boolean;
    v_now constant timestamptz := clock_timestamp();  -- a worker's statement goes on for as long as it works
    v_day constant timestamp := date_trunc('day', v_now at time zone 'UTC');
begin
    select json_agg(json_build_array(b.budget_id, case when b.conversation_id is not null then 'conversation'
               when b.agent_id is not null then 'agent' else 'tenant' end, b.period, b.max_tokens, b.max_cost) order by b.budget_id),
           bool_or(b.conversation_id is null and b.period <> 'turn'), bool_or(b.conversation_id is not null and b.period <> 'turn'),
           bool_or(b.max_cost is not null)
      into v_limits, v_is_shared, v_is_conversations, v_is_in_money
      from aos_agent.budget as b
     where b.tenant_id = _budgets_of.tenant_id and (b.agent_id is null or b.agent_id = _budgets_of.agent_id)
       and (b.conversation_id is null or b.conversation_id = _budgets_of.conversation_id);
    if v_is_shared then
        v_shared := aos_agent._shared_use(_budgets_of.tenant_id, _budgets_of.agent_id);
    end if;
    if v_is_conversations then
        select json_build_object('conversation total', json_build_array(sum(u.tokens), sum(u.cost)),
                   'conversation month', json_build_array(sum(u.tokens) filter (where u.at >= date_trunc('month', v_day)),
                       sum(u.cost) filter (where u.at >= date_trunc('month', v_day))),
                   'conversation day', json_build_array(sum(u.tokens) filter (where u.at >= v_day), sum(u.cost) filter (where u.at >= v_day)))
          into v_conversation
          from (select r.input_tokens + r.output_tokens as tokens, r.cost, coalesce(r.finished_at, v_now) at time zone 'UTC' as at
                  from aos_core.run as r
                 where r.conversation_id = _budgets_of.conversation_id and r.tenant_id = _budgets_of.tenant_id) as u;
    end if;
    if v_is_in_money then
        select min(m.model_name) into v_unpriced
          from aos_meta.llm_model_registry as m
         where m.model_id in (_budgets_of.model_id, _budgets_of.fallback_model_id) and (m.input_price is null or m.output_price is null);
    end if;
    return json_build_object('agent_name', _budgets_of.agent_name, 'limits', v_limits, 'shared', v_shared, 'conversation', v_conversation,
        'unpriced', v_unpriced, 'turn', json_build_array(_budgets_of.turn_tokens, _budgets_of.turn_cost));
end
$$;
comment on function aos_agent._budgets_of(uuid, uuid, text, uuid, uuid, uuid, integer, numeric) is
    'The budgets that hold for a turn, and what is used of them: by all turns, by those of its conversation, by itself. When a budget is in money, also which of its two models has no price.';

create function aos_agent._count_usage(tenant_id uuid, agent_id uuid, tokens bigint, cost numeric) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_day constant date := (clock_timestamp() at time zone 'UTC')::date;
begin
    if coalesce(_count_usage.tokens, 0) = 0 and coalesce(_count_usage.cost, 0) = 0 then
        return;
    end if;
    -- A stricter isolation level would call a row that somebody has changed since a serialization failure.
    if current_setting('transaction_isolation') = 'read committed' then
        update aos_agent.usage as u set tokens = u.tokens + _count_usage.tokens, cost = u.cost + _count_usage.cost
         where u.usage_id = (select free.usage_id from aos_agent.usage as free
                              where free.tenant_id = _count_usage.tenant_id and free.day = v_day and free.agent_id = _count_usage.agent_id
                              limit 1 for update skip locked);
        if found then
            return;
        end if;
    end if;
    insert into aos_agent.usage (tenant_id, agent_id, day, tokens, cost)
    values (_count_usage.tenant_id, _count_usage.agent_id, v_day, _count_usage.tokens, _count_usage.cost);
end
$$;
comment on function aos_agent._count_usage(uuid, uuid, bigint, numeric) is 'Adds to what an agent has used today.';

create function aos_agent._record_counted(run_id uuid, new_steps json, closed_steps json, status text, waiting_reason text, error jsonb,
        agent_id uuid, used_steps integer[]) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform aos_core._record(_record_counted.run_id, _record_counted.new_steps, _record_counted.closed_steps, _record_counted.status,
        _record_counted.waiting_reason, _record_counted.error);
    perform aos_agent._count_usage(u.tenant_id, _record_counted.agent_id, u.tokens, u.cost)
       from (select s.tenant_id, sum(coalesce(s.input_tokens, 0) + coalesce(s.output_tokens, 0)) as tokens, coalesce(sum(s.cost), 0) as cost
               from aos_core.step as s
              where s.run_id = _record_counted.run_id and s.step_no = any (_record_counted.used_steps)
              group by s.tenant_id) as u;
end
$$;
comment on function aos_agent._record_counted(uuid, json, json, text, text, jsonb, uuid, integer[]) is
    'Does what aos_core._record does, and counts what the model steps with these numbers have used.';

create function aos_agent._over_budget(run_id uuid) returns jsonb
    language plpython3u volatile set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'agent.over_budget', run_id)
$$;
comment on function aos_agent._over_budget(uuid) is 'The error of a turn that has a budget with nothing left; null when it may go on.';

create function aos_agent._end_over_budget(run_id uuid) returns boolean
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_error jsonb;
begin
    if exists (select from aos_agent.budget as b
                 join aos_core.run as r on r.tenant_id = b.tenant_id where r.run_id = _end_over_budget.run_id) then
        v_error := aos_agent._over_budget(_end_over_budget.run_id);
    end if;
    if v_error is not null then
        perform aos_core._record(_end_over_budget.run_id, '[]', '[]', 'failed', null, v_error);
    end if;
    return v_error is not null;
end
$$;
comment on function aos_agent._end_over_budget(uuid) is
    'Ends a turn that is driven from outside when a budget leaves it nothing for its next model call. Says whether it did.';
