create function aos_agent._tenant_tables() returns table (table_name regclass, place integer)
    language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    -- place: 0 refers to no other of these tables, 1 only to tables of place 0, and so on.
    with recursive
    ours as (
        select c.oid
          from pg_class as c
          join pg_attribute as a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
          join pg_depend as d on d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
          join pg_extension as e on d.refclassid = 'pg_extension'::regclass and e.oid = d.refobjid and e.extname = 'pgagentos'
         where c.relkind in ('r', 'p') and not c.relispartition
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
comment on function aos_agent._tenant_tables() is 'The tables that hold rows of tenants, each with its place: a table refers only to tables of lower places.';

create function aos_agent._tenant_name(tenant_id uuid) returns text
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_name text;
begin
    select t.name into v_name from aos_auth.tenant as t where t.tenant_id = _tenant_name.tenant_id;
    if not found then
        raise exception using errcode = 'OS002', message = format('there is no tenant %s', coalesce(_tenant_name.tenant_id::text, 'NULL')),
            hint = 'SELECT tenant_id, name FROM aos_auth.tenant lists them.';
    end if;
    return v_name;
end
$$;
comment on function aos_agent._tenant_name(uuid) is 'The name of a tenant; an error when there is none.';

create function aos_agent.export_tenant(tenant_id uuid) returns table (table_name text, content json)
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_table record;
begin
    perform aos_auth._require_operator();
    perform aos_agent._tenant_name(export_tenant.tenant_id);
    for v_table in
        -- What is sealed stays where its master key is.
        select t.table_name, n.nspname, c.relname, coalesce(json_object_agg(a.attname, null) filter (where a.attname is not null), '{}') as sealed
          from aos_agent._tenant_tables() as t
          join pg_class as c on c.oid = t.table_name
          join pg_namespace as n on n.oid = c.relnamespace
          left join pg_attribute as a on a.attrelid = c.oid and a.attname = 'ciphertext'
                and c.oid = 'aos_meta.secret'::regclass
         group by t.table_name, t.place, n.nspname, c.relname
         order by t.place, n.nspname, c.relname
    loop
        -- A line break in JSON is white space; without any, each row is one line of a file.
        for table_name, content in execute format(
            'select $1, translate(row_to_json(json_populate_record(t, $2))::text, E''\n\r'', ''  '')::json from %I.%I as t where t.tenant_id = $3',
            v_table.nspname, v_table.relname) using v_table.table_name::text, v_table.sealed, export_tenant.tenant_id
        loop
            return next;
        end loop;
    end loop;
end
$$;
comment on function aos_agent.export_tenant(uuid) is
    'Every row of a tenant as JSON, in an order in which the rows can be put back: no row refers to a later one. Of secrets all but the value.';

create function aos_agent.delete_tenant(tenant_id uuid, name text) returns jsonb
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_name text;
    v_table regclass;
    v_count bigint;
    v_deleted jsonb := jsonb_build_object();
begin
    perform aos_auth._require_operator();
    v_name := aos_agent._tenant_name(delete_tenant.tenant_id);
    if v_name is distinct from delete_tenant.name then
        raise exception using errcode = 'OS001', message = format('the tenant %s is not called %L', delete_tenant.tenant_id, coalesce(delete_tenant.name, 'NULL')),
            hint = 'The name has to be given as well, so that a wrong id deletes nothing.';
    end if;
    -- First of all its row: nothing that refers to it can be added meanwhile.
    perform from aos_auth.tenant as t where t.tenant_id = delete_tenant.tenant_id for update;
    for v_table in
        select t.table_name
          from aos_agent._tenant_tables() as t
         -- append-only: ids and hashes, which outlive the rows
         where t.table_name not in ('aos_core.event_log'::regclass, 'aos_core.event_head'::regclass, 'aos_core.event_seal'::regclass)
         order by t.place desc, t.table_name = 'aos_auth.tenant'::regclass, t.table_name::text
    loop
        execute format('delete from %s as t where t.tenant_id = $1', v_table) using delete_tenant.tenant_id;
        get diagnostics v_count = row_count;
        if v_count > 0 then
            v_deleted := v_deleted || jsonb_build_object(v_table::text, v_count);
        end if;
    end loop;
    perform aos_core._log(delete_tenant.tenant_id, null, null, 'tenant_deleted', v_deleted);
    return v_deleted;
end
$$;
comment on function aos_agent.delete_tenant(uuid, text) is
    'Deletes a tenant with all its rows but those of the event log, which hold no content and get a last one. name: the tenant''s, as a confirmation. Returns how many rows of which table.';

create function aos_agent._is_idle(conversation_id uuid, since timestamptz) returns boolean
    language sql stable set search_path = pg_catalog, pg_temp
return not exists (select from aos_agent.message as m where m.conversation_id = _is_idle.conversation_id and m.created_at >= since)
    and not exists (select from aos_core.run as r where r.conversation_id = _is_idle.conversation_id
                       and (r.finished_at is null or r.finished_at >= since));
comment on function aos_agent._is_idle(uuid, timestamptz) is 'Whether nothing happened in a conversation since then, and no turn of it is unfinished.';

-- enable_sort: the planner cannot know how many rows row security lets through; in the order of the index a batch looks
-- at hardly more conversations than it takes, where a sort would look at all.
create function aos_agent._lock_expired(batch integer) returns uuid[]
    language plpgsql set search_path = pg_catalog, pg_temp set enable_sort = off set jit = off
as $$
begin
    -- Whoever adds to a conversation, or runs a turn of it, holds a lock on it: it is not idle.
    return (select array_agg(f.conversation_id)
              from (select c.conversation_id
                      from aos_agent.conversation as c
                      join aos_auth.tenant as t on t.tenant_id = c.tenant_id
                     where c.created_at < now() - t.keep_conversations and aos_agent._is_idle(c.conversation_id, now() - t.keep_conversations)
                     order by c.conversation_id  -- by time, which such an id begins with
                     limit _lock_expired.batch
                       for update of c skip locked) as f);
end
$$;
comment on function aos_agent._lock_expired(integer) is
    'Locks the oldest conversations in which nothing happened for longer than their tenant keeps them, at most so many, and returns their ids.';

create function aos_agent.apply_retention(batch integer default 1000) returns integer
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_found uuid[];
    v_deleted record;
    v_count integer := 0;
begin
    perform aos_auth._require_operator();
    if (apply_retention.batch between 1 and 1000000) is not true then
        raise exception using errcode = 'OS001', message = 'a batch has 1 to 1000000 conversations', hint = 'Leave it out for 1000.';
    end if;
    v_found := aos_agent._lock_expired(apply_retention.batch);
    -- Asked once more, in a statement that sees what was committed before the locks were taken.
    for v_deleted in
        delete from aos_agent.conversation as c using aos_auth.tenant as t
         where c.conversation_id = any (v_found) and t.tenant_id = c.tenant_id
           and aos_agent._is_idle(c.conversation_id, now() - t.keep_conversations)
        returning c.tenant_id, c.conversation_id
    loop
        perform aos_core._log(v_deleted.tenant_id, v_deleted.conversation_id, null, 'conversation_expired');
        v_count := v_count + 1;
    end loop;
    return v_count;
end
$$;
comment on function aos_agent.apply_retention(integer) is
    'Deletes conversations in which nothing happened for longer than their tenant keeps them (aos_auth.tenant.keep_conversations), the oldest first, at most batch of them; none with an unfinished turn. Returns how many: call it until that is less than batch, or let pg_cron do it.';

grant execute on function aos_agent.export_tenant(uuid), aos_agent.delete_tenant(uuid, text), aos_agent.apply_retention(integer) to pgagentos_operator;
