create function aos_core._drop_event_partition(partition name, month date) returns text
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_from timestamptz := _drop_event_partition.month::timestamp at time zone 'UTC';
    v_up_to timestamptz := (_drop_event_partition.month + interval '1 month')::timestamp at time zone 'UTC';
    v_batch record;
    v_seal aos_core.event_seal;
    v_unsealed bigint;
    v_entries bigint := 0;
begin
    select count(*) into v_unsealed
      from (select e.chain_id, max(e.event_no) as event_no from aos_core.event_log as e
             where e.created_at >= v_from and e.created_at < v_up_to group by e.chain_id) as p
     where not exists (select from aos_core.event_seal as s, unnest(s.chain_ids, s.event_nos) as h (chain_id, event_no)
                        where h.chain_id = p.chain_id and h.event_no >= p.event_no);
    if v_unsealed > 0 then
        return format('kept %s: %s of its chains are not sealed', _drop_event_partition.partition, v_unsealed);
    end if;
    -- What verify_event_log needs of a month that is gone: the last entry of each chain, and the heads of the
    -- conversations whose deletion it recorded.
    for v_batch in
        with gone as (
            select e.* from aos_core.event_log as e where e.created_at >= v_from and e.created_at < v_up_to
        ),
        head as (
            (select distinct on (g.chain_id) g.tenant_id, g.chain_id, g.event_no, g.hash from gone as g order by g.chain_id, g.event_no desc)
            union
            select g.tenant_id, (g.detail ->> 'conversation_id')::uuid, (g.detail ->> 'event_no')::integer,
                   decode(g.detail ->> 'event_hash', 'hex')
              from gone as g where g.event_type = 'conversation_deleted'
        ),
        numbered as (
            select h.*, (row_number() over (partition by h.tenant_id order by h.chain_id, h.event_no) - 1) / 10000 as batch_no from head as h
        )
        select n.tenant_id, array_agg(n.chain_id order by n.chain_id, n.event_no) as chain_ids,
               array_agg(n.event_no order by n.chain_id, n.event_no) as event_nos, array_agg(n.hash order by n.chain_id, n.event_no) as hashes
          from numbered as n
         group by n.tenant_id, n.batch_no
         order by n.tenant_id, n.batch_no
    loop
        v_seal.tenant_id := v_batch.tenant_id;
        v_seal.kind := text 'cut';
        v_seal.up_to := v_up_to;
        v_seal.chain_ids := v_batch.chain_ids;
        v_seal.event_nos := v_batch.event_nos;
        v_seal.hashes := v_batch.hashes;
        perform aos_core._add_seal(v_seal);
    end loop;
    select count(*) into v_entries from aos_core.event_log as e where e.created_at >= v_from and e.created_at < v_up_to;
    execute format('drop table aos_core.%I', _drop_event_partition.partition);
    return format('dropped %s: %s entries', _drop_event_partition.partition, v_entries);
end
$$;
comment on function aos_core._drop_event_partition(name, date) is 'Drops a month of the event log if all of it is sealed; the last entries of its chains stay in aos_core.event_seal.';

create function aos_core._add_event_partition(month date) returns text
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_from timestamptz := _add_event_partition.month::timestamp at time zone 'UTC';
    v_up_to timestamptz := (_add_event_partition.month + interval '1 month')::timestamp at time zone 'UTC';
    v_name name := 'event_log_' || to_char(_add_event_partition.month, 'YYYY_MM');
begin
    if to_regclass(format('aos_core.%I', v_name)) is not null then
        return null;
    elsif exists (select from aos_core.event_log as e where e.created_at >= v_from and e.created_at < v_up_to) then
        return format('not created %s: entries of that month are in event_log_default', v_name);
    end if;
    -- Made first and attached then: that waits for no turn that is under way, as long as the turns of this month have a
    -- partition of their own.
    execute format('create table aos_core.%I (like aos_core.event_log including defaults including constraints)', v_name);
    execute format('create index %I on aos_core.%I using brin (created_at) with (pages_per_range = 32, autosummarize = on)',
        v_name || '_time', v_name);
    perform brin_desummarize_range(to_regclass(format('aos_core.%I', v_name || '_time')), 0);
    execute format('comment on table aos_core.%I is %L', v_name, 'One month of aos_core.event_log.');
    -- No policy and no grant: it is read through event_log.
    execute format('alter table aos_core.%I enable row level security', v_name);
    execute format('alter table aos_core.%I force row level security', v_name);
    execute format('create trigger refuse_truncate before truncate on aos_core.%I for each statement execute function aos_core._refuse_change()',
        v_name);
    execute format('alter table aos_core.%I enable always trigger refuse_truncate', v_name);
    execute format('alter table aos_core.event_log attach partition aos_core.%I for values from (%L) to (%L)', v_name, v_from, v_up_to);
    return format('created %s', v_name);
end
$$;
comment on function aos_core._add_event_partition(date) is 'Makes a partition of the event log for a month (UTC), unless it is there.';

create function aos_core.maintain_event_log(keep interval default null) returns setof text
    language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '5s' set timezone = 'UTC'
as $$
declare
    v_month date := date_trunc('month', now())::date;
    v_partition record;
    v_line text;
begin
    perform aos_auth._require_operator('only an operator keeps the event log');
    for n in 0 .. 2 loop
        v_line := aos_core._add_event_partition((v_month + make_interval(months => n))::date);
        if v_line is not null then
            return next v_line;
        end if;
    end loop;
    if maintain_event_log.keep is null then
        return;
    end if;
    perform aos_core.seal_event_log();
    for v_partition in
        select c.relname, to_date(right(c.relname, 7), 'YYYY_MM') as month
          from pg_inherits as i
          join pg_class as c on c.oid = i.inhrelid
         where i.inhparent = 'aos_core.event_log'::regclass and c.relname ~ '^event_log_\d{4}_\d{2}$'
         order by c.relname
    loop
        if (v_partition.month + interval '1 month')::timestamp at time zone 'UTC' <= now() - maintain_event_log.keep then
            return next aos_core._drop_event_partition(v_partition.relname, v_partition.month);
        end if;
    end loop;
end
$$;
comment on function aos_core.maintain_event_log(interval) is
    'Makes the partitions of the event log for this month and the next two; with keep, seals the log and drops the months that ended longer ago than that. Returns what it did, one line a partition. Run it daily, for example with pg_cron. It gives up after 5 s (55P03) rather than let turns wait behind it.';

grant execute on function aos_core.maintain_event_log(interval) to pgagentos_operator;
