-- Here, in secret.sql and in ticket.sql plain values are handled. Two rules keep them, and the master key, out of every
-- log and plan:
-- * They move by assignment (v := f(...)), which PL/pgSQL evaluates without a statement. A statement's parameters are
--   what auto_explain and audit extensions write down, nested statements included.
-- * These two are inlined there, hence no SET clause; their names were bound when they were created, to pgcrypto in
--   whatever schema it is.
do $do$
begin
    execute (select format($create$
create function aos_meta._encrypt(content bytea, passphrase text) returns bytea
    language sql volatile
-- The passphrase is random: to stretch it, as is done with what people think up, would only cost time.
return %1$I.pgp_sym_encrypt_bytea(content, passphrase, 'cipher-algo=aes256, s2k-mode=1, compress-algo=0');
create function aos_meta._decrypt(content bytea, passphrase text) returns bytea
    language sql immutable
return %1$I.pgp_sym_decrypt_bytea(content, passphrase);
$create$, n.nspname) from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace where e.extname = 'pgcrypto');
end
$do$;
comment on function aos_meta._encrypt(bytea, text) is 'pgcrypto''s symmetric encryption, with AES-256.';
comment on function aos_meta._decrypt(bytea, text) is 'Reverses _encrypt.';

create function aos_meta._master_key(key_id text default null) returns text[]
    language plpython3u volatile set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'meta.master_key', key_id)
$$;
comment on function aos_meta._master_key(text) is
    'A line of the master key file, read anew: its id and its key; null: the current one. Only ever called in an assignment.';

create function aos_meta._seal(purpose text, value bytea, out key_id text, out sealed bytea)
    language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_key text[] := aos_meta._master_key();
begin
    -- A text holds no zero byte: the purpose ends where the first one stands.
    key_id := v_key[1];
    sealed := aos_meta._encrypt(convert_to(_seal.purpose, 'UTF8') || '\x00'::bytea || _seal.value, v_key[2]);
end
$$;
comment on function aos_meta._seal(text, bytea) is 'Seals a value with the current master key, for one purpose. Only ever called in an assignment.';

create function aos_meta._open_sealed(purpose text, key_id text, sealed bytea) returns bytea
    language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_key text[] := aos_meta._master_key(_open_sealed.key_id);
    v_purpose bytea := convert_to(_open_sealed.purpose, 'UTF8') || '\x00'::bytea;
    v_content bytea;
begin
    begin
        v_content := aos_meta._decrypt(_open_sealed.sealed, v_key[2]);
    exception when external_routine_invocation_exception then
        v_content := null;  -- pgcrypto: wrong key or corrupt data
    end;
    if v_content is null or substring(v_content from 1 for length(v_purpose)) <> v_purpose then
        raise exception using errcode = 'OS901',
            message = format('what is stored as %L cannot be opened', _open_sealed.purpose),
            detail = 'It was changed, it was moved here from another row, or another key has the id of the one that sealed it.',
            hint = 'Set it again. If the master key was restored from a copy, is it the one of this database?';
    end if;
    return substring(v_content from length(v_purpose) + 1);
end
$$;
comment on function aos_meta._open_sealed(text, text, bytea) is 'Opens what _seal made, for the same purpose alone.';
