-- The way in by COPY ... FROM STDIN, whose data no log shows. But while COPY reads a line, whatever is logged quotes it
-- as its context; so the row trigger only keeps the row in memory, and the statement trigger, which runs when no line
-- is quoted any more, does what may fail or wait.
create view aos_meta.secret_input as
    select null::text as name, null::text as value, null::uuid as tenant_id, null::text[] as hosts where false;
comment on view aos_meta.secret_input is
    'Takes secrets in: COPY aos_meta.secret_input (name, value) FROM STDIN. The columns are the arguments of aos_meta.set_secret. Shows nothing.';

create function aos_meta._open_secret_input(statement text) returns void
    language plpython3u volatile set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'meta.open_secret_input', statement)
$$;
comment on function aos_meta._open_secret_input(text) is 'Begins to keep the rows of a statement, if there is a master key; what an earlier statement, which failed, has left is forgotten.';

create function aos_meta._take_secret_input() returns aos_meta.secret_input[]
    language plpython3u volatile set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'meta.take_secret_input')
$$;
comment on function aos_meta._take_secret_input() is 'The rows that were kept, which are forgotten by that.';

create function aos_meta._begin_secret_input() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform aos_meta._secret_tenant(null);
    perform aos_auth._require('secret_manager');
    perform aos_meta._open_secret_input(statement_timestamp()::text);
    return null;
end
$$;
comment on function aos_meta._begin_secret_input() is 'Trigger: raises before the first row is read what would be in vain.';

create function aos_meta._keep_secret_input() returns trigger
    language plpython3u volatile set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'meta.keep_secret_input', TD)
$$;
comment on function aos_meta._keep_secret_input() is 'Trigger: keeps a row in memory. It runs no statement: whatever the server logged here would quote the row.';

create function aos_meta._end_secret_input() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_rows aos_meta.secret_input[] := aos_meta._take_secret_input();
    v_row aos_meta.secret_input;
    v_owner uuid;
    v_sealed record;
begin
    foreach v_row in array v_rows loop
        v_owner := aos_meta._secret_tenant(v_row.tenant_id);
        v_sealed := aos_meta._seal_secret(v_owner, v_row.name, v_row.value);
        perform aos_meta._put_secret(v_owner, v_row.name, v_sealed.key_id, v_sealed.sealed, v_row.hosts);
    end loop;
    return null;
end
$$;
comment on function aos_meta._end_secret_input() is 'Trigger: stores the rows, when the statement has read them all.';

create trigger begin_secret_input before insert on aos_meta.secret_input
    for each statement execute function aos_meta._begin_secret_input();
create trigger keep_secret_input instead of insert on aos_meta.secret_input
    for each row execute function aos_meta._keep_secret_input();
create trigger end_secret_input after insert on aos_meta.secret_input
    for each statement execute function aos_meta._end_secret_input();

grant insert on aos_meta.secret_input to pgagentos_secret_manager, pgagentos_operator;
