-- Seals over the event log, its check, and its months.

create function aos_core._seal_digest(previous bytea, seal aos_core.event_seal) returns bytea
    language sql stable set search_path = pg_catalog, pg_temp
return sha256(coalesce(previous, '')
    || convert_to(jsonb_build_array((seal).tenant_id, (seal).seal_no, (extract(epoch from (seal).sealed_at) * 1000000)::bigint, (seal).kind,
        (extract(epoch from (seal).up_to) * 1000000)::bigint)::text, 'UTF8')
    || (select string_agg(uuid_send(h.chain_id) || int4send(h.event_no) || h.hash, ''::bytea order by h.n)
          from unnest((seal).chain_ids, (seal).event_nos, (seal).hashes) with ordinality as h (chain_id, event_no, hash, n)));
comment on function aos_core._seal_digest(bytea, aos_core.event_seal) is
    'The digest of a seal that follows the seal with the digest previous; null: it is the first of its tenant.';

create function aos_core._add_seal(seal aos_core.event_seal) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_seal aos_core.event_seal := _add_seal.seal;
    v_last record;
begin
    select s.seal_no, s.digest into v_last
      from aos_core.event_seal as s where s.tenant_id = v_seal.tenant_id order by s.seal_no desc limit 1;
    v_seal.seal_no := coalesce(v_last.seal_no, 0) + 1;
    v_seal.sealed_at := clock_timestamp();
    v_seal.digest := aos_core._seal_digest(v_last.digest, v_seal);
    insert into aos_core.event_seal select v_seal.*;
    -- Whoever rewrites a chain can rewrite its seals too, but not the copies of the server's log that are elsewhere.
    raise log '%', jsonb_build_object('source', 'pgagentos', 'event', 'event_log_sealed', 'tenant_id', v_seal.tenant_id,
        'seal_no', v_seal.seal_no, 'kind', v_seal.kind, 'chains', cardinality(v_seal.chain_ids), 'digest', encode(v_seal.digest, 'hex'));
end
$$;
comment on function aos_core._add_seal(aos_core.event_seal) is
    'Writes the next seal of a tenant, and its digest into the server''s log. The table is locked against other sealers.';

create function aos_core.seal_event_log() returns integer
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_from timestamptz;
    v_seal aos_core.event_seal;
    v_batch record;
    v_chains integer := 0;
begin
    perform aos_auth._require_operator('only an operator keeps the event log');
    lock table aos_core.event_seal in share row exclusive mode;  -- one sealer at a time; readers and turns go on
    -- What the last seal could not see was written by transactions of which the oldest was open then. They all began
    -- after an earlier seal for which that transaction was still to come: so their entries are younger than it. An hour
    -- more, for a clock that was set back and for a seal that took long.
    select coalesce(max(s.sealed_at) - interval '1 hour', '-infinity') into v_from
      from aos_core.event_seal as s
     where s.sealed_at = (select e.sealed_at from aos_core.event_seal as e
                           where e.kind = 'seal' and e.next_xid <= (select l.oldest_open from aos_core.event_seal as l
                                                                     where l.kind = 'seal' order by l.sealed_at desc limit 1)
                           order by e.sealed_at desc limit 1);
    for v_batch in
        with head as (
            select distinct on (e.chain_id) e.tenant_id, e.chain_id, e.event_no, e.hash
              from aos_core.event_log as e
             where e.created_at >= v_from
             order by e.chain_id, e.event_no desc
        ),
        moved as (
            select h.*, (row_number() over (partition by h.tenant_id order by h.chain_id) - 1) / 10000 as batch_no
              from head as h
             where not exists (select from aos_core.event_seal as s, unnest(s.chain_ids, s.event_nos) as u (chain_id, event_no)
                                where s.sealed_at >= v_from and u.chain_id = h.chain_id and u.event_no = h.event_no)
        )
        select m.tenant_id, array_agg(m.chain_id order by m.chain_id) as chain_ids, array_agg(m.event_no order by m.chain_id) as event_nos,
               array_agg(m.hash order by m.chain_id) as hashes, pg_snapshot_xmin(pg_current_snapshot()) as oldest_open,
               pg_snapshot_xmax(pg_current_snapshot()) as next_xid
          from moved as m
         group by m.tenant_id, m.batch_no
         order by m.tenant_id, m.batch_no
    loop
        v_seal.tenant_id := v_batch.tenant_id;
        v_seal.kind := text 'seal';
        v_seal.oldest_open := v_batch.oldest_open;
        v_seal.next_xid := v_batch.next_xid;
        v_seal.chain_ids := v_batch.chain_ids;
        v_seal.event_nos := v_batch.event_nos;
        v_seal.hashes := v_batch.hashes;
        perform aos_core._add_seal(v_seal);
        v_chains := v_chains + cardinality(v_batch.chain_ids);
    end loop;
    return v_chains;
end
$$;
comment on function aos_core.seal_event_log() is
    'Seals the heads of all chains of the event log that moved since the last seal: one entry a tenant in aos_core.event_seal, its digest also in the server''s log. No turn waits for it. Run it every few minutes, for example with pg_cron. Returns how many chains it sealed.';

create function aos_core.verify_event_log(tenant_id uuid default null)
    returns table (chain_id uuid, event_no integer, problem text)
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform aos_auth._require('auditor');
    -- Each entry follows the one before it.
    return query
        with anchor as (
            select distinct h.chain_id, h.event_no, h.hash
              from aos_core.event_seal as s, unnest(s.chain_ids, s.event_nos, s.hashes) as h (chain_id, event_no, hash)
             where s.kind = 'cut' and s.tenant_id = coalesce(verify_event_log.tenant_id, s.tenant_id)
        ),
        entry as (
            select e.*, lag(e.event_no) over w as previous_no, lag(e.hash) over w as previous_hash
              from aos_core.event_log as e
             where e.tenant_id = coalesce(verify_event_log.tenant_id, e.tenant_id)
            window w as (partition by e.chain_id order by e.event_no, e.created_at)
        ),
        linked as (
            select e.*, case when e.event_no = 1 then ''::bytea
                             when e.previous_no = e.event_no - 1 then e.previous_hash
                             else a.hash  -- the entry before it was in a month that was dropped
                        end as link
              from entry as e
              left join anchor as a on a.chain_id = e.chain_id and a.event_no = e.event_no - 1
        )
        select l.chain_id, l.event_no,
               case when l.previous_no = l.event_no then 'inserted: there are two entries of this number'
                    when l.link is null then format('missing: entries %s to %s', 1 + coalesce(greatest(l.previous_no, (select max(a.event_no)
                        from anchor as a where a.chain_id = l.chain_id and a.event_no < l.event_no)), 0), l.event_no - 1)
                    else 'altered: its hash is not that of its content and the entry before it'
               end
          from linked as l
         where l.previous_no = l.event_no or l.link is null
            or l.hash is distinct from aos_core._event_hash(l.link, l.event_no, l.created_at, l.chain_id, l.tenant_id, l.run_id, l.event_type,
                l.actor, l.detail)
         order by l.chain_id, l.event_no;
    -- Each chain ends where its head says.
    return query
        with anchor as (
            select distinct h.chain_id, h.event_no, h.hash
              from aos_core.event_seal as s, unnest(s.chain_ids, s.event_nos, s.hashes) as h (chain_id, event_no, hash)
             where s.kind = 'cut' and s.tenant_id = coalesce(verify_event_log.tenant_id, s.tenant_id)
        ),
        tail as (
            select distinct on (t.chain_id) t.chain_id, t.event_no, t.hash, t.is_anchor
              from (select e.chain_id, e.event_no, e.hash, false as is_anchor from aos_core.event_log as e
                     where e.tenant_id = coalesce(verify_event_log.tenant_id, e.tenant_id)
                    union all select a.chain_id, a.event_no, a.hash, true from anchor as a) as t
             order by t.chain_id, t.event_no desc, t.is_anchor desc
        ),
        head as (
            -- of the latest turn; where there is none, what was recorded when the last one was deleted
            select distinct on (h.chain_id) h.chain_id, h.event_no, h.event_hash
              from (select r.conversation_id as chain_id, r.event_no, r.event_hash, r.turn_no, 1 as rank
                      from aos_core.run as r where r.tenant_id = coalesce(verify_event_log.tenant_id, r.tenant_id)
                    union all
                    select h.tenant_id, h.event_no, h.event_hash, 0, 1
                      from aos_core.event_head as h where h.tenant_id = coalesce(verify_event_log.tenant_id, h.tenant_id)
                    union all
                    select (e.detail ->> 'conversation_id')::uuid, (e.detail ->> 'event_no')::integer, decode(e.detail ->> 'event_hash', 'hex'),
                           (e.detail ->> 'turns')::integer, 2
                      from aos_core.event_log as e
                     where e.event_type = 'conversation_deleted' and e.chain_id = e.tenant_id and e.tenant_id = coalesce(verify_event_log.tenant_id, e.tenant_id)) as h
             order by h.chain_id, h.rank, h.turn_no desc, h.event_no desc
        )
        select coalesce(t.chain_id, h.chain_id), coalesce(t.event_no, h.event_no),
               case when h.chain_id is null then 'missing: the head of this chain; its turns were deleted without a record'
                    when t.chain_id is null then format('missing: entries 1 to %s', h.event_no)
                    when t.event_no < h.event_no then format('missing: entries %s to %s, the last of the chain', t.event_no + 1, h.event_no)
                    when t.event_no > h.event_no then format('inserted: the chain ended at %s', h.event_no)
                    else 'altered: its hash is not that of the head of the chain'
               end
          from tail as t
          full join head as h on h.chain_id = t.chain_id
         where (h.chain_id is null and not t.is_anchor)
            or (h.chain_id is not null and (t.event_no, t.hash) is distinct from (h.event_no, h.event_hash))
         order by 1, 2;
    -- What was sealed is still there.
    return query
        with sealed as (
            select h.chain_id, h.event_no, h.hash, s.kind, s.seal_no
              from aos_core.event_seal as s, unnest(s.chain_ids, s.event_nos, s.hashes) as h (chain_id, event_no, hash)
             where s.tenant_id = coalesce(verify_event_log.tenant_id, s.tenant_id)
        ),
        dropped as (
            select h.chain_id, max(h.event_no) as event_no from sealed as h where h.kind = 'cut' group by h.chain_id
        )
        select h.chain_id, h.event_no,
               case when e.chain_id is null then format('missing: seal %s names this entry', h.seal_no)
                    else format('altered: seal %s names it with another hash', h.seal_no) end
          from sealed as h
          left join aos_core.event_log as e on e.chain_id = h.chain_id and e.event_no = h.event_no
          left join dropped as d on d.chain_id = h.chain_id and d.event_no >= h.event_no
         where h.kind = 'seal' and e.hash is distinct from h.hash and (e.chain_id is not null or d.chain_id is null)
         order by 1, 2;
    -- Each seal follows the one before it.
    return query
        select s.tenant_id, null::integer,
               case when s.seal_no > s.previous_no + 1 then format('missing: seals %s to %s', s.previous_no + 1, s.seal_no - 1)
                    else format('altered: the digest of seal %s is not that of its content and the seal before it', s.seal_no) end
          from (select s.seal as seal, (s.seal).tenant_id, (s.seal).seal_no, (s.seal).digest,
                       lag((s.seal).seal_no, 1, 0) over w as previous_no, lag((s.seal).digest) over w as previous_digest
                  from (select s as seal from aos_core.event_seal as s
                         where s.tenant_id = coalesce(verify_event_log.tenant_id, s.tenant_id)) as s
                window w as (partition by (s.seal).tenant_id order by (s.seal).seal_no)) as s
         where s.seal_no > s.previous_no + 1 or s.digest is distinct from aos_core._seal_digest(s.previous_digest, s.seal)
         order by s.tenant_id, s.seal_no;
end
$$;
comment on function aos_core.verify_event_log(uuid) is
    'Recomputes every hash of the event log and of its seals and compares the ends of the chains with what turns and seals remember. One row a problem: an entry that was altered, inserted, reordered or is missing; a seal that does not follow the one before (chain_id is the tenant then). No row: intact.';

grant execute on function aos_core.seal_event_log() to pgagentos_operator;
grant execute on function aos_core.verify_event_log(uuid) to pgagentos_auditor, pgagentos_operator;
