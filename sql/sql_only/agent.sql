--@ after aos_agent/tables.sql
alter table aos_agent.agent add constraint agent_is_run_from_outside check (runner <> 'database');

--@ edit comment column aos_agent.agent.db_role
--< registered by aos_auth.register_agent_role; null: pgagentos_agent.
--> registered by aos_auth.register_agent_role; null: pgagentos_agent where it is to be had, else none.

--@ instead of function aos_agent.run_turn
create function aos_agent.run_turn(turn_id uuid, nowait boolean default false) returns jsonb
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_run aos_core.run := aos_agent._lock_turn(run_turn.turn_id, run_turn.nowait);
    v_status text := v_run.status;
begin
    if v_status in ('awaiting_approval', 'awaiting_tool') then
        v_status := aos_agent._go_on(v_run.run_id);
    end if;
    if v_status = 'awaiting_model' then
        perform aos_agent._end_over_budget(v_run.run_id);
    end if;
    return aos_agent._turn_state(v_run.run_id);
end
$$;
comment on function aos_agent.run_turn(uuid, boolean) is
    'Takes a turn as far as it can go here: to an approval, or to the payload to call the model with. A finished turn returns its stored answer. nowait: an error at once when the conversation is busy.';

--@ instead of function aos_agent.ask
create function aos_agent.ask(agent_name text, content text, conversation_id uuid default null) returns text
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_turn record;
begin
    perform aos_agent._refuse_empty(ask.content);
    select c.run_id, c.status into v_turn from aos_agent._ask(ask.agent_name, ask.content, ask.conversation_id) as c;
    perform aos_core._enqueue(v_turn.run_id);
    raise warning using message = format('turn %s is %s', v_turn.run_id, v_turn.status),
        hint = format('An outside worker answers it. SELECT aos_agent.run_turn(''%s'') shows how far it is.', v_turn.run_id);
    return null;
end
$$;
comment on function aos_agent.ask(text, text, uuid) is
    'Says something to an agent. An outside worker answers after the commit, so it returns null with a WARNING that names the turn.';

--@ instead of function aos_agent._over_budget
create function aos_agent._over_budget(run_id uuid) returns jsonb
    language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_budgets jsonb;
    v_limit record;
    v_name text;
    v_used text;
    v_resets_at text;
begin
    select aos_agent._budgets_of(r.tenant_id, a.agent_id, a.name, r.conversation_id, v.model_id, v.fallback_model_id,
               r.input_tokens + r.output_tokens, r.cost)::jsonb
      into v_budgets
      from aos_core.run as r
      join aos_agent.conversation as c on c.conversation_id = r.conversation_id and c.tenant_id = r.tenant_id
      join aos_agent.agent as a on a.agent_id = c.agent_id and a.tenant_id = c.tenant_id
      join aos_persona.persona_version as v on v.persona_version_id = r.persona_version_id and v.tenant_id = r.tenant_id
     where r.run_id = _over_budget.run_id;
    for v_limit in
        select l.budget_id, l.scope, l.period, l.max_tokens, l.max_cost, coalesce((u.used ->> 0)::bigint, 0) as tokens,
               coalesce((u.used ->> 1)::numeric, 0) as cost
          from (select i.no, i.value ->> 0 as budget_id, i.value ->> 1 as scope, i.value ->> 2 as period,
                       (i.value ->> 3)::bigint as max_tokens, (i.value ->> 4)::numeric as max_cost
                  from jsonb_array_elements(case jsonb_typeof(v_budgets -> 'limits') when 'array' then v_budgets -> 'limits' else '[]' end)
                       with ordinality as i (value, no)) as l
          cross join lateral (select case when l.period = 'turn' then v_budgets -> 'turn'
                                          else v_budgets -> case l.scope when 'conversation' then 'conversation' else 'shared' end
                                                   -> (l.scope || ' ' || l.period) end as used) as u
         order by l.no
    loop
        if v_limit.tokens >= v_limit.max_tokens then
            v_used := format('%s of %s tokens', v_limit.tokens, v_limit.max_tokens);
        elsif v_limit.cost >= v_limit.max_cost then
            v_used := format('%s of %s US dollars', aos_agent._dollars(v_limit.cost), aos_agent._dollars(v_limit.max_cost));
        elsif v_limit.max_cost is null or v_budgets ->> 'unpriced' is null then
            continue;
        end if;
        v_name := format('the budget of %s %s', case v_limit.scope when 'agent' then format('agent "%s"', v_budgets ->> 'agent_name') else 'the ' || v_limit.scope end,
            case v_limit.period when 'turn' then 'for a turn' when 'day' then 'for the day' when 'month' then 'for the month' else 'in all' end);
        if v_limit.period in ('day', 'month') then
            v_resets_at := to_char(date_trunc(v_limit.period, clock_timestamp() at time zone 'UTC') + ('1 ' || v_limit.period)::interval,
                'YYYY-MM-DD "00:00 UTC"');
        end if;
        return jsonb_build_object('sqlstate', 'OS115', 'kind', 'budget', 'budget_id', v_limit.budget_id, 'resets_at', v_resets_at)
            || case when v_used is null then
                jsonb_build_object('message', format('%s is in money, and model %s has no price', v_name, v_budgets ->> 'unpriced'),
                    'hint', 'Set input_price and output_price in aos_meta.llm_model_registry; a model that costs nothing has the prices 0.')
            else
                jsonb_build_object('message', format('%s is used up: %s', v_name, v_used),
                    'hint', case v_limit.period when 'turn' then 'Each turn has it anew.'
                        when 'total' then 'A new conversation is not limited by it.' else format('It starts anew at %s.', v_resets_at) end
                        || ' aos_agent.budget_left shows what is left, aos_agent.set_budget raises it.')
            end;
    end loop;
    return null;
end
$$;

create function aos_agent._dollars(amount numeric) returns text
    language sql immutable set search_path = pg_catalog, pg_temp
return case when scale(trim_scale(round(amount, 8))) < 2 then round(amount, 2) else trim_scale(round(amount, 8)) end::text;
comment on function aos_agent._dollars(numeric) is 'An amount of money as people read it: two digits behind the point, or as many as it has.';

--@ instead of function aos_agent._run_skill
create function aos_agent._runs_tools(db_role name) returns boolean
    language sql stable set search_path = pg_catalog, pg_temp
return exists (
    select from pg_proc as p
      join pg_roles as r on r.oid = p.proowner
      join pg_language as l on l.oid = p.prolang
     where p.pronamespace = 'aos_sandbox'::regnamespace and p.proname = db_role and r.rolname = db_role and l.lanname = 'plpgsql'
       and p.prosecdef and p.proconfig = array['search_path=pg_catalog, pg_temp'] and not r.rolsuper and not r.rolbypassrls
       and has_function_privilege(p.oid, 'execute'));
comment on function aos_agent._runs_tools(name) is
    'Whether a role has the function that runs tools with its rights, as aos_auth._grant_tools made it, and sees no more than row security lets it see.';

create function aos_agent._as_agent_role(db_role name, statement text, arguments jsonb, conversation_id uuid, turn_id uuid, tenant_id uuid)
    returns json
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_result json;
begin
    if not aos_agent._runs_tools(_as_agent_role.db_role) then
        raise exception using errcode = 'OS001',
            message = case _as_agent_role.db_role when 'pgagentos_agent' then 'the agent has no database role to run tools as'
                else format('the role %I cannot run tools here', _as_agent_role.db_role) end,
            hint = format('An operator says SELECT aos_auth.register_agent_role(%s, %L); and sets agent.db_role.',
                case _as_agent_role.db_role when 'pgagentos_agent' then '''a_role''' else quote_literal(_as_agent_role.db_role) end, _as_agent_role.tenant_id);
    end if;
    execute format('select aos_sandbox.%I($1, $2, $3, $4, $5)', _as_agent_role.db_role)
       into v_result
      using _as_agent_role.statement, _as_agent_role.arguments, _as_agent_role.conversation_id, _as_agent_role.turn_id, _as_agent_role.tenant_id;
    return v_result;
end
$$;
comment on function aos_agent._as_agent_role(name, text, jsonb, uuid, uuid, uuid) is
    'Runs a statement that returns one json with the rights of a role: $1 the arguments, $2 conversation, $3 turn, $4 tenant.';

create function aos_agent._forget_prepared(known text[]) returns boolean
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_name text;
    v_found boolean := false;
begin
    for v_name in select p.name from pg_prepared_statements as p where p.name || ' ' || p.prepare_time <> all (known) loop
        execute format('deallocate %I', v_name);
        v_found := true;
    end loop;
    return v_found;
end
$$;
comment on function aos_agent._forget_prepared(text[]) is
    'Ends the prepared statements of this session that are not among the known ones, for whoever ran them later would do so with rights of his own. Says whether there were any.';

create function aos_agent._deferred_by_strangers() returns text
    language sql stable set search_path = pg_catalog, pg_temp
return (
    -- Of a table's indexes only those have functions of its owner that are on expressions. Keys to other tables are
    -- looked at with the rights of their tables' owners.
    select min(d.what) from (
        select format('the trigger %I of table %s', t.tgname, t.tgrelid::regclass) as what, p.proowner as owner
          from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid where t.tgdeferrable and not t.tgisinternal
        union all
        select format('the constraint %s of table %s', i.indexrelid::regclass, i.indrelid::regclass), c.relowner
          from pg_index as i join pg_class as c on c.oid = i.indrelid
         where not i.indimmediate and (i.indexprs is not null or i.indpred is not null)) as d
     where not pg_has_role(d.owner, current_user, 'member'));
comment on function aos_agent._deferred_by_strangers() is
    'A trigger or constraint that may run at the end of a transaction, with the rights of whoever commits, and runs what belongs to no operator; null: there is none.';

create function aos_agent._run_skill(run_id uuid, tool_name text, arguments json, idempotency_key text, out status text, out content text)
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_call record;
    v_function oid;
    v_reply json;
    v_hint text;
    v_prepared text[] := (select coalesce(array_agg(p.name || ' ' || p.prepare_time), '{}') from pg_prepared_statements as p);
    v_cursors text[] := (select coalesce(array_agg(c.name || ' ' || c.creation_time), '{}') from pg_cursors as c);
    v_late text;
begin
    select r.tenant_id, r.conversation_id, c.principal_id, coalesce(a.db_role, 'pgagentos_agent') as db_role, e.implementation, e.function_name
      into strict v_call
      from aos_core.run as r
      join aos_agent.conversation as c on c.conversation_id = r.conversation_id and c.tenant_id = r.tenant_id
      join aos_agent.agent as a on a.agent_id = c.agent_id and a.tenant_id = c.tenant_id
      cross join lateral aos_agent._usable_skill(c.agent_id, c.tenant_id, c.principal_id) as e
     where r.run_id = _run_skill.run_id and e.name = _run_skill.tool_name;
    status := 'failed';
    if v_call.implementation <> 'sql_function' then
        content := format('The tool %s cannot be run in this database.', _run_skill.tool_name);
        return;
    end if;
    begin
        -- Below this a tool acts for the tenant of its turn, also where an operator drives that.
        perform aos_auth._act_for(v_call.tenant_id, v_call.principal_id);
        -- Asked by the role itself: who may not use the schema does not find the function.
        v_function := (aos_agent._as_agent_role(v_call.db_role, 'select to_json(to_regprocedure($1 #>> ''{}'')::oid)', to_jsonb(v_call.function_name),
            v_call.conversation_id, _run_skill.run_id, v_call.tenant_id) #>> '{}')::oid;
        v_reply := aos_agent._as_agent_role(v_call.db_role,
            format('select json_build_object(''is_plain'', i.is_plain, ''result'', i.result) from (%s) as i', aos_skills._invocation(v_call.function_name, v_function,
                (select array_agg(distinct k.name) from json_object_keys(_run_skill.arguments) as k (name)))),
            _run_skill.arguments::jsonb, v_call.conversation_id, _run_skill.run_id, v_call.tenant_id);
        v_late := aos_agent._deferred_by_strangers();
        if (v_reply ->> 'is_plain')::boolean is not true then
            raise exception using errcode = 'OS001', message = format('the role %I does not exist, or sees past row security', v_call.db_role),
                hint = 'An agent''s role is a plain one; see aos_auth.register_agent_role.';
        elsif aos_agent._forget_prepared(v_prepared)
            or exists (select from pg_cursors as c where c.is_holdable and c.name || ' ' || c.creation_time <> all (v_cursors))
        then
            raise exception using errcode = 'OS001', message = 'a tool may prepare no statement and hold no cursor',
                hint = 'What it leaves behind would run later, with rights that are not its own.';
        elsif v_late is not null then
            -- It could put itself off once more, to the commit.
            raise exception using errcode = 'OS001', message = format('%s is deferrable, and runs what a stranger has made', v_late),
                hint = 'No tool runs beside it: it could run at the commit, with rights that are not its own. Make it not deferrable, or its function an operator''s.';
        end if;
        perform aos_auth._act_no_more();
        status := 'completed';
        content := coalesce(v_reply ->> 'result', 'null');
        if length(content) > 100000 then
            content := format(E'%s\n[%s more characters left out]', left(content, 100000), length(content) - 100000);
        end if;
    exception
        when query_canceled or assert_failure then
            perform aos_agent._forget_prepared(v_prepared);
            raise;
        when others then
            perform aos_agent._forget_prepared(v_prepared);
            if sqlstate like '40%' then
                raise;  -- the whole transaction has to start again
            end if;
            get stacked diagnostics v_hint = pg_exception_hint;
            status := 'failed';
            content := case when sqlstate = 'OS001' then concat_ws(' ', sqlerrm || '.', nullif(v_hint, '')) else sqlstate || ': ' || sqlerrm end;
    end;
end
$$;

--@ instead of function aos_agent._tenant_tables
create function aos_agent._tenant_tables() returns table (table_name regclass, place integer)
    language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    -- place: 0 refers to no other of these tables, 1 only to tables of place 0, and so on.
    with recursive
    ours as (
        select c.oid
          from pg_class as c
          join pg_namespace as n on n.oid = c.relnamespace
          join pg_attribute as a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
         where c.relkind in ('r', 'p') and not c.relispartition and c.relforcerowsecurity
           and n.nspname in ('aos_auth', 'aos_meta', 'aos_persona', 'aos_skills', 'aos_core', 'aos_agent')
    ),
    link as (
        select distinct k.conrelid, k.confrelid
          from pg_constraint as k
         where k.contype = 'f' and k.conrelid <> k.confrelid
           and k.conrelid in (select o.oid from ours as o) and k.confrelid in (select o.oid from ours as o)
    ),
    placed (oid, place) as (
        select o.oid, 0 from ours as o
        union
        select l.conrelid, p.place + 1 from placed as p join link as l on l.confrelid = p.oid where p.place < 100
    )
    select p.oid::regclass, max(p.place) from placed as p group by p.oid;
end;

--@ edit function aos_agent.export_tenant
--< and c.oid = 'aos_meta.secret'::regclass
--> and c.oid = to_regclass('aos_meta.secret')

--@ instead of function aos_agent._turns_of_backends
create function aos_agent._turns_of_backends() returns table (pid integer, backend_start bigint, turn_id uuid, conversation_id uuid,
        tenant_id uuid, agent_id uuid, step_no integer, kind text, tool_name text, step_since double precision, turn_since double precision)
    language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select null::integer, null::bigint, null::uuid, null::uuid, null::uuid, null::uuid, null::integer, null::text, null::text, null::float, null::float
     where false;
end;
comment on function aos_agent._turns_of_backends() is 'Nothing: no turn is run by SELECT here.';
