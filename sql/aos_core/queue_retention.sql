create table aos_core.dedup_key (
    tenant_id uuid not null,
    dedup_key text not null,
    run_id uuid not null,
    created_at timestamptz not null,
    constraint dedup_key_pkey primary key (tenant_id, dedup_key),
    constraint dedup_key_is_of_a_turn foreign key (run_id, tenant_id)
        references aos_core.run (run_id, tenant_id) on delete cascade deferrable initially deferred,
    constraint dedup_key_is_not_empty check (dedup_key <> '')
);
create index dedup_key_run on aos_core.dedup_key (run_id);
create index dedup_key_time on aos_core.dedup_key (created_at);
comment on table aos_core.dedup_key is 'The keys that aos_agent.submit was given, so that what is submitted again is not done again.';
comment on column aos_core.dedup_key.dedup_key is 'What the caller named the task, unique in the tenant.';
comment on column aos_core.dedup_key.run_id is 'The turn that the first call returned.';

create function aos_core.clean_queue(most integer default 10000) returns integer
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_now constant timestamptz := aos_core._now();
    v_letters integer;
    v_keys integer;
begin
    perform aos_auth._require_operator();
    if (clean_queue.most between 1 and 1000000) is not true then
        raise exception using errcode = 'OS001', message = 'one call deletes 1 to 1000000 rows', hint = 'Leave it out for 10000.';
    end if;
    delete from aos_core.queue as q
     where (q.run_id, q.tenant_id) in (
        select o.run_id, o.tenant_id from aos_core.queue as o
         where o.died_at <= v_now - (aos_meta.setting('queue_keep_dead_letters') #>> '{}')::interval
         order by o.died_at limit clean_queue.most for update skip locked);
    get diagnostics v_letters = row_count;
    delete from aos_core.dedup_key as d
     where (d.tenant_id, d.dedup_key) in (
        select o.tenant_id, o.dedup_key from aos_core.dedup_key as o
         where o.created_at <= v_now - (aos_meta.setting('queue_keep_dedup_keys') #>> '{}')::interval
         order by o.created_at limit clean_queue.most - v_letters for update skip locked);
    get diagnostics v_keys = row_count;
    -- Nobody reads them any more: had-shares fade within minutes, full buckets are as good as none.
    delete from aos_core.rate_bucket as b where b.refilled_at < v_now - interval '1 hour';
    -- A stricter isolation level may not show a turn that was just put into a lane.
    if current_setting('transaction_isolation') <> 'read committed' then
        return v_letters + v_keys;
    end if;
    begin
        lock table only aos_core.lane_gate in share row exclusive mode nowait;  -- see aos_core._open_lane
    exception when lock_not_available then
        return v_letters + v_keys;
    end;
    delete from aos_core.queue_lane as l
     where case when l.runner is null then not exists (
                   select from aos_core.queue as q
                    where q.claimed_at is not null and q.tenant_id = l.tenant_id and q.claimed_at >= l.begins_at)
               else not exists (
                   select from aos_core.queue as q
                    where q.claimed_at is null and q.died_at is null and q.runner = l.runner and q.tenant_id = l.tenant_id
                      and q.priority = l.priority and q.run_after >= l.begins_at) end
        or exists (select from aos_core.queue_lane as o
                    where o.tenant_id = l.tenant_id and o.runner is not distinct from l.runner and o.priority is not distinct from l.priority
                      and (o.begins_at, o.lane_id) < (l.begins_at, l.lane_id));
    return v_letters + v_keys;
end
$$;
comment on function aos_core.clean_queue(integer) is
    'Deletes dead letters and dedup keys past their time (settings queue_keep_dead_letters, queue_keep_dedup_keys), the oldest first, at most so many. Returns how many: call it until that is less than most, or let pg_cron do it. Commit it at once: until then nobody else submits or claims.';

select pg_catalog.pg_extension_config_dump('aos_core.dedup_key', '');

alter table aos_core.dedup_key enable row level security;
alter table aos_core.dedup_key force row level security;
create policy tenant on aos_core.dedup_key
    using ((select aos_auth._visible_tenant()) = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']))
    with check (aos_auth._visible_tenant() = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']));

grant select on aos_core.queue
    to pgagentos_user, pgagentos_developer, pgagentos_approver, pgagentos_worker, pgagentos_auditor, pgagentos_operator;
grant execute on function aos_core.clean_queue(integer) to pgagentos_operator;
