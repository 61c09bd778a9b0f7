create table aos_agent.schedule (
    schedule_id uuid not null default gen_random_uuid(),
    tenant_id uuid not null,
    agent_id uuid not null,
    principal_id uuid,
    name text,
    cron_expression text not null,
    time_zone text not null default 'UTC',
    content text not null,
    conversation text not null default 'new',
    on_missed text not null default 'run_once',
    priority integer not null default 0,
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    next_run_at timestamptz not null,
    last_at timestamptz,
    last_status text,
    last_reason text,
    constraint schedule_pkey primary key (schedule_id, tenant_id),
    constraint schedule_name_is_unique_in_its_tenant unique (tenant_id, name),
    constraint schedule_name_is_not_empty check (name <> ''),
    constraint schedule_is_of_an_agent foreign key (agent_id, tenant_id)
        references aos_agent.agent (agent_id, tenant_id) on delete cascade,
    constraint schedule_is_a_principals foreign key (principal_id, tenant_id)
        references aos_auth.principal (principal_id, tenant_id) on delete cascade,
    constraint schedule_says_something check (content <> ''),
    constraint schedule_conversation_is_known check (conversation in ('new', 'same')),
    constraint schedule_on_missed_is_known check (on_missed in ('run_once', 'skip')),
    constraint schedule_priority_fits_the_queue check (priority between -100 and 100),
    constraint schedule_last_status_is_known check (last_status in ('started', 'skipped', 'failed')),
    constraint schedule_outcome_has_a_time check ((last_status is null) = (last_at is null)),
    constraint schedule_says_why_it_did_not_run check (last_status = 'started' or last_status is null or last_reason is not null)
);
create index schedule_due on aos_agent.schedule (next_run_at) where is_active;
create index schedule_agent on aos_agent.schedule (agent_id);
create index schedule_principal on aos_agent.schedule (principal_id);
comment on table aos_agent.schedule is 'What an agent is told at the moments of a cron expression. aos_agent.schedules shows it with what came of it.';
comment on column aos_agent.schedule.principal_id is 'In whose name it runs: the principal who made it; null: nobody''s, an operator made it.';
comment on column aos_agent.schedule.cron_expression is 'Five fields as in crontab(5): minute, hour, day of the month, month, day of the week; or @daily and the like.';
comment on column aos_agent.schedule.time_zone is 'In which the expression is meant, by its name in pg_timezone_names.';
comment on column aos_agent.schedule.content is 'What the agent is told.';
comment on column aos_agent.schedule.conversation is 'new: each run opens a conversation. same: all runs are in one.';
comment on column aos_agent.schedule.on_missed is 'When nobody was there to run it. run_once: one run later for all moments that were missed. skip: none.';
comment on column aos_agent.schedule.priority is 'Of its turns in the queue.';
comment on column aos_agent.schedule.is_active is 'False: it does not run. Set to true again, it runs at its next moment, as if none had been missed.';
comment on column aos_agent.schedule.next_run_at is 'When it is due; it follows from the expression.';
comment on column aos_agent.schedule.last_at is 'When it was due last and a worker looked at it.';
comment on column aos_agent.schedule.last_status is 'What came of it: a turn was started, it was skipped, or it failed.';
comment on column aos_agent.schedule.last_reason is 'Why it was skipped or failed, or why it ran late.';

create table aos_agent.schedule_run (
    run_id uuid not null,
    tenant_id uuid not null,
    schedule_id uuid not null,
    scheduled_for timestamptz not null,
    constraint schedule_run_pkey primary key (run_id, tenant_id),
    constraint schedule_runs_once_at_a_moment unique (schedule_id, scheduled_for, tenant_id),
    constraint schedule_run_belongs_to_a_schedule foreign key (schedule_id, tenant_id)
        references aos_agent.schedule (schedule_id, tenant_id) on delete cascade,
    constraint schedule_run_is_a_turn foreign key (run_id, tenant_id)
        references aos_core.run (run_id, tenant_id) on delete cascade
);
comment on table aos_agent.schedule_run is 'The turns that schedules have started.';
comment on column aos_agent.schedule_run.scheduled_for is 'The moment of the expression; of several that were missed the last one.';

select pg_catalog.pg_extension_config_dump('aos_agent.schedule', '');
select pg_catalog.pg_extension_config_dump('aos_agent.schedule_run', '');

do $$
declare
    v_table text;
begin
    foreach v_table in array array['schedule', 'schedule_run'] loop
        execute format('alter table aos_agent.%I enable row level security', v_table);
        execute format('alter table aos_agent.%I force row level security', v_table);
        execute format($policy$create policy tenant on aos_agent.%I
            using ((select aos_auth._visible_tenant()) = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']))$policy$, v_table);
    end loop;
end
$$;
-- Its turns act for its principal: nobody makes one in the name of another, or lets another's say something else.
create policy own_schedules_added on aos_agent.schedule as restrictive for insert
    with check (principal_id is not distinct from aos_auth.principal_id() or aos_auth._visible_tenant() = '00000000-0000-0000-0000-000000000000');
create policy own_schedules_changed on aos_agent.schedule as restrictive for update
    using (principal_id is not distinct from aos_auth.principal_id() or aos_auth._visible_tenant() = '00000000-0000-0000-0000-000000000000');
create policy own_schedules_deleted on aos_agent.schedule as restrictive for delete
    using (principal_id is not distinct from aos_auth.principal_id() or aos_auth._visible_tenant() = '00000000-0000-0000-0000-000000000000');

create function aos_agent._next_run(cron_expression text, time_zone text, after double precision) returns double precision
    language plpython3u volatile set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'agent.next_run', cron_expression, time_zone, after)
$$;
comment on function aos_agent._next_run(text, text, double precision) is
    'The first moment of a cron expression after another one, both in seconds since 1970; an error when it cannot be read.';

create function aos_agent._fire_schedules(most integer default 100) returns integer
    language plpython3u volatile set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'agent.fire_schedules', most)
$$;
comment on function aos_agent._fire_schedules(integer) is
    'Starts a turn of each schedule that is due, as far as whoever acts sees them; at most so many. Returns how many turns it started.';

create function aos_agent._plan_schedule() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp set row_security = on
as $$
declare
    v_time_zone text;
begin
    if tg_op = 'INSERT' then
        if new.next_run_at is not null then
            return new;  -- from a dump
        end if;
    elsif (new.cron_expression, new.time_zone) is not distinct from (old.cron_expression, old.time_zone) and new.is_active <= old.is_active then
        return new;
    end if;
    -- The view reads hundreds of files.
    if new.time_zone <> 'UTC' then
        select n.name into v_time_zone from pg_timezone_names as n where lower(n.name) = lower(new.time_zone);
        if not found then
            raise exception using errcode = 'OS001', message = format('there is no time zone %L', new.time_zone),
                hint = 'For example Europe/Berlin or UTC; SELECT name FROM pg_timezone_names lists them. An abbreviation has no rules for summer time.';
        end if;
        new.time_zone := v_time_zone;
    end if;
    new.next_run_at := to_timestamp(aos_agent._next_run(new.cron_expression, new.time_zone,
        extract(epoch from aos_core._now())::double precision));
    return new;
end
$$;
comment on function aos_agent._plan_schedule() is
    'Trigger: a schedule is due at the next moment of its expression, counted from when it was made, changed or turned on. Refuses what cannot be read.';

create trigger plan_schedule before insert or update of cron_expression, time_zone, is_active on aos_agent.schedule
    for each row execute function aos_agent._plan_schedule();
-- Its runs are no changes.
create trigger log_change after insert or delete
        or update of agent_id, principal_id, cron_expression, time_zone, content, conversation, on_missed, priority, is_active
    on aos_agent.schedule for each row
    when (current_setting('row_security') = 'on')
    execute function aos_core._log_change('schedule_id', 'agent_id', 'principal_id', 'is_active');

create function aos_agent._refuse_other_owner(schedule_id uuid, principal_id uuid) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if _refuse_other_owner.principal_id is distinct from aos_auth.principal_id()
        and aos_auth._visible_tenant() is distinct from '00000000-0000-0000-0000-000000000000'
    then
        raise exception using errcode = 'insufficient_privilege',
            message = format('schedule %s is somebody else''s', _refuse_other_owner.schedule_id),
            detail = 'Its turns act for the principal who made it, so only he changes it, and operators.',
            hint = 'Make one of your own, under another name.';
    end if;
end
$$;
comment on function aos_agent._refuse_other_owner(uuid, uuid) is
    'Raises an error unless the one who acts may change a schedule of this principal.';

create function aos_agent.schedule(agent_name text, cron_expression text, content text, time_zone text default 'UTC',
        name text default null, conversation text default 'new', on_missed text default 'run_once', priority integer default 0) returns uuid
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_agent aos_agent.agent := aos_agent._agent(schedule.agent_name);
    v_schedule_id uuid;
begin
    perform aos_agent._refuse_empty(schedule.content);
    if schedule.cron_expression is null or schedule.time_zone is null then
        raise exception using errcode = 'OS001', message = 'a schedule needs a cron expression and a time zone',
            hint = 'For example: SELECT aos_agent.schedule(''clerk'', ''0 9 * * MON-FRI'', ''What is new?'', ''Europe/Berlin'').';
    elsif (schedule.conversation in ('new', 'same')) is not true then
        raise exception using errcode = 'OS001', message = format('the conversation of a schedule is new or same, not %s', coalesce(schedule.conversation, 'NULL')),
            hint = 'new: each run opens one. same: all runs are in one.';
    elsif (schedule.on_missed in ('run_once', 'skip')) is not true then
        raise exception using errcode = 'OS001', message = format('on_missed is run_once or skip, not %s', coalesce(schedule.on_missed, 'NULL')),
            hint = 'run_once: one run later for all moments that nobody was there for. skip: none.';
    elsif (schedule.priority between -100 and 100) is not true then
        raise exception using errcode = 'OS001', message = 'a priority is a number from -100 to 100', hint = 'Leave it out for 0.';
    end if;
    if schedule.name is not null then
        perform aos_agent._refuse_other_owner(s.schedule_id, s.principal_id)
           from aos_agent.schedule as s where s.tenant_id = v_agent.tenant_id and s.name = schedule.name;
    end if;
    insert into aos_agent.schedule as s (tenant_id, agent_id, principal_id, name, cron_expression, time_zone, content, conversation, on_missed, priority)
    values (v_agent.tenant_id, v_agent.agent_id, aos_auth.principal_id(), nullif(schedule.name, ''), schedule.cron_expression, schedule.time_zone,
        schedule.content, schedule.conversation, schedule.on_missed, schedule.priority)
    on conflict on constraint schedule_name_is_unique_in_its_tenant
        do update set agent_id = excluded.agent_id, cron_expression = excluded.cron_expression, time_zone = excluded.time_zone,
            content = excluded.content, conversation = excluded.conversation, on_missed = excluded.on_missed, priority = excluded.priority, is_active = true
    returning s.schedule_id into v_schedule_id;
    return v_schedule_id;
end
$$;
comment on function aos_agent.schedule(text, text, text, text, text, text, text, integer) is
    'Lets an agent be told something at each moment of a cron expression, in the name of the caller. A name that one of his schedules has changes that one. conversation: new or same. on_missed: run_once or skip. Workers run it (docs/workers.md). Returns schedule_id.';

create function aos_agent.unschedule(schedule_id uuid default null, name text default null) returns boolean
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_found uuid[];
begin
    if num_nonnulls(unschedule.schedule_id, unschedule.name) = 0 then
        raise exception using errcode = 'OS001', message = 'which schedule is it',
            hint = 'Pass schedule_id, or name => ''...''; aos_agent.schedules lists them.';
    end if;
    select array_agg(s.schedule_id) into v_found
      from aos_agent.schedule as s
     where (unschedule.schedule_id is null or s.schedule_id = unschedule.schedule_id) and (unschedule.name is null or s.name = unschedule.name);
    if cardinality(v_found) > 1 then
        raise exception using errcode = 'OS001', message = format('several tenants have a schedule %L', unschedule.name),
            hint = 'Pass schedule_id; aos_agent.schedules lists them.';
    end if;
    perform aos_agent._refuse_other_owner(s.schedule_id, s.principal_id)
       from aos_agent.schedule as s where s.schedule_id = any (v_found);
    delete from aos_agent.schedule as s where s.schedule_id = any (v_found);
    return found;
end
$$;
comment on function aos_agent.unschedule(uuid, text) is
    'Deletes a schedule, by its id or its name; the turns that it has started stay. False when there is none.';

create view aos_agent.schedules as
    select s.schedule_id, s.name, a.name as agent_name, s.cron_expression, s.time_zone, s.content, s.is_active,
           case when s.is_active then s.next_run_at end as next_run_at, s.last_at as last_run_at,
           case s.last_status when 'started' then coalesce(l.status::text, 'started') else s.last_status end as last_status,
           s.last_reason, l.run_id as last_turn_id, c.content as last_answer, s.conversation, s.on_missed, s.priority, s.principal_id, s.tenant_id
      from aos_agent.schedule as s
      join aos_agent.agent as a on a.agent_id = s.agent_id and a.tenant_id = s.tenant_id
      left join lateral (
          select r.run_id, r.status
            from aos_agent.schedule_run as u
            join aos_core.run as r on r.run_id = u.run_id and r.tenant_id = u.tenant_id
           where u.schedule_id = s.schedule_id and u.tenant_id = s.tenant_id
           order by u.scheduled_for desc limit 1) as l on true
      left join lateral (
          select (select t.message ->> 'content' from aos_core.step as t
                   where t.run_id = r.run_id and t.tenant_id = r.tenant_id and t.kind = 'model' order by t.step_no desc limit 1) as content
            from aos_agent.schedule_run as u
            join aos_core.run as r on r.run_id = u.run_id and r.tenant_id = u.tenant_id
           where u.schedule_id = s.schedule_id and u.tenant_id = s.tenant_id and r.status = 'completed'
           order by u.scheduled_for desc limit 1) as c on true;
comment on view aos_agent.schedules is 'All schedules: when they run next, and what came of the last time.';
comment on column aos_agent.schedules.last_status is
    'How the turn stands that was started the last time it was due; or that it was skipped or failed, and last_reason says why.';
comment on column aos_agent.schedules.last_turn_id is 'The last turn that was started.';
comment on column aos_agent.schedules.last_answer is 'Of the last turn that completed.';

grant select on aos_agent.schedule, aos_agent.schedules, aos_agent.schedule_run
    to pgagentos_user, pgagentos_developer, pgagentos_approver, pgagentos_worker, pgagentos_operator;
-- Not what is said.
grant select (schedule_id, tenant_id, agent_id, principal_id, name, cron_expression, time_zone, conversation, on_missed, priority, is_active,
        created_at, next_run_at, last_at, last_status, last_reason) on aos_agent.schedule to pgagentos_auditor;
grant select on aos_agent.schedule_run to pgagentos_auditor;
grant update (name, cron_expression, time_zone, content, conversation, on_missed, priority, is_active) on aos_agent.schedule
    to pgagentos_user, pgagentos_developer, pgagentos_operator;
grant execute on function aos_agent.schedule(text, text, text, text, text, text, text, integer), aos_agent.unschedule(uuid, text)
    to pgagentos_user, pgagentos_developer, pgagentos_worker, pgagentos_operator;
