-- Tickets belong to aos_auth. Their keys are sealed by the cipher of aos_meta, so the code is built after it.

create table aos_auth.ticket_key (
    key_id text not null,
    ciphertext bytea not null,
    master_key_id text not null,
    not_after timestamptz,
    created_at timestamptz not null default now(),
    constraint ticket_key_pkey primary key (key_id),
    constraint ticket_key_name_is_plain check (key_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    constraint ticket_key_ends_after_it_was_created check (not_after > created_at)
);
comment on table aos_auth.ticket_key is
    'The keys that tickets are signed with. Who has one can be every principal of every tenant, so only operators make them. Written by create_ticket_key; nothing returns a key again.';
comment on column aos_auth.ticket_key.key_id is 'The first part of a ticket: which key signed it.';
comment on column aos_auth.ticket_key.ciphertext is 'The key, sealed with the master key.';
comment on column aos_auth.ticket_key.master_key_id is 'Which line of the master key file sealed it.';
comment on column aos_auth.ticket_key.not_after is 'From then on its tickets are refused; null: until it is dropped.';

select pg_catalog.pg_extension_config_dump('aos_auth.ticket_key', '');

create function aos_auth._ticket_purpose(key_id text) returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return format('ticket key %s', _ticket_purpose.key_id);
end
$$;
comment on function aos_auth._ticket_purpose(text) is 'What a ticket key is sealed for: its own id.';

create function aos_auth.create_ticket_key(key_id text, not_after timestamptz default null) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_key text;
    v_sealed record;
begin
    perform aos_auth._require_operator();
    if create_ticket_key.key_id is null or create_ticket_key.key_id !~ '^[A-Za-z0-9_-]{1,64}$' then
        raise exception using errcode = 'OS001', message = 'the id of a ticket key is 1 to 64 letters, digits, dashes and underscores',
            hint = 'For example SELECT aos_auth.create_ticket_key(''web_2027'').';
    elsif create_ticket_key.not_after <= now() then
        raise exception using errcode = 'OS001', message = 'the key would end before it begins', hint = 'Leave not_after out, or name a later time.';
    end if;
    -- By assignment, as everything that holds a plain key: no statement has it as a parameter. (sql/aos_meta/secret.sql)
    -- A uuid has 122 random bits; three of them fill the 256.
    v_key := encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex');
    v_sealed := aos_meta._seal(aos_auth._ticket_purpose(create_ticket_key.key_id), convert_to(v_key, 'UTF8'));
    insert into aos_auth.ticket_key (key_id, ciphertext, master_key_id, not_after)
    values (create_ticket_key.key_id, v_sealed.sealed, v_sealed.key_id, create_ticket_key.not_after);
    return v_key;
exception when unique_violation then
    raise exception using errcode = 'OS001', message = format('there is a ticket key %L already', create_ticket_key.key_id),
        hint = format('Take another id, or SELECT aos_auth.drop_ticket_key(%L) first.', create_ticket_key.key_id);
end
$$;
comment on function aos_auth.create_ticket_key(text, timestamptz) is
    'Makes a key for signing tickets and returns it: give it to your application now, nothing shows it again. not_after: when its tickets end; null: when it is dropped.';

create function aos_auth.drop_ticket_key(key_id text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform aos_auth._require_operator();
    delete from aos_auth.ticket_key as k where k.key_id = drop_ticket_key.key_id;
    if not found then
        raise exception using errcode = 'OS002', message = format('there is no ticket key %L', drop_ticket_key.key_id),
            hint = 'SELECT key_id, created_at FROM aos_auth.ticket_key lists them.';
    end if;
end
$$;
comment on function aos_auth.drop_ticket_key(text) is 'Deletes a ticket key: what it has signed is refused from the next transaction on.';

create function aos_auth._ticket_key(key_id text) returns bytea
    language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_key aos_auth.ticket_key;
begin
    select k.* into v_key
      from aos_auth.ticket_key as k
     where k.key_id = _ticket_key.key_id and (k.not_after is null or k.not_after > clock_timestamp());
    if not found then
        return null;
    end if;
    return aos_meta._open_sealed(aos_auth._ticket_purpose(v_key.key_id), v_key.master_key_id, v_key.ciphertext);
end
$$;
comment on function aos_auth._ticket_key(text) is 'A ticket key, opened; null when there is none of that id whose time is not over.';

create function aos_auth._newest_ticket_key() returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return (select k.key_id from aos_auth.ticket_key as k
             where k.not_after is null or k.not_after > statement_timestamp() + interval '60 seconds'
             order by k.created_at desc, k.key_id desc limit 1);
end
$$;
comment on function aos_auth._newest_ticket_key() is 'The key that issue_ticket signs with; null when there is none that outlives a ticket.';

create function aos_auth._rotate_ticket_keys() returns integer
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_current text[] := aos_meta._master_key();
    v_key aos_auth.ticket_key;
    v_purpose text;
    v_sealed record;
    v_rotated integer := 0;
begin
    for v_key in select k.* from aos_auth.ticket_key as k where k.master_key_id <> v_current[1] order by k.key_id for update loop
        v_purpose := aos_auth._ticket_purpose(v_key.key_id);
        v_sealed := aos_meta._seal(v_purpose, aos_meta._open_sealed(v_purpose, v_key.master_key_id, v_key.ciphertext));
        update aos_auth.ticket_key as k set ciphertext = v_sealed.sealed, master_key_id = v_sealed.key_id where k.key_id = v_key.key_id;
        v_rotated := v_rotated + 1;
    end loop;
    return v_rotated;
end
$$;
comment on function aos_auth._rotate_ticket_keys() is 'Seals the ticket keys with the current master key, for aos_meta.rotate_secrets. Returns how many it sealed anew.';

-- client_min_messages: why a ticket is refused is for the server's log; a caller who asked to see LOG lines must not get it.
create function aos_auth.begin(ticket text) returns uuid
    language plpython3u volatile security definer set search_path = pg_catalog, pg_temp set client_min_messages = warning
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'auth.begin', ticket)
$$;
comment on function aos_auth.begin(text) is
    'Lets the owner of a ticket act for the rest of this transaction, and nobody else: also a superuser''s session is then limited to the rights of the ticket in all that pgAgentOS does. Call it after BEGIN, with the ticket as a bound parameter. Returns tenant_id.';

create function aos_auth._sign_ticket(tenant_id uuid, principal_id uuid, seconds integer) returns text
    language plpython3u volatile set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'auth.sign_ticket', tenant_id, principal_id, seconds)
$$;
comment on function aos_auth._sign_ticket(uuid, uuid, integer) is 'Signs a ticket with the newest key.';

create function aos_auth.issue_ticket(principal_id uuid, seconds integer default 60) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_principal record;
    v_ticket text;
begin
    perform aos_auth._require_operator();
    if (issue_ticket.seconds between 1 and 60) is not true then
        raise exception using errcode = 'OS001', message = 'a ticket is valid for 1 to 60 seconds',
            hint = 'It only opens a transaction, which may then last. Make a new one for each.';
    end if;
    select p.tenant_id, p.is_active and t.is_active as is_active into v_principal
      from aos_auth.principal as p
      join aos_auth.tenant as t on t.tenant_id = p.tenant_id
     where p.principal_id = issue_ticket.principal_id;
    if not found then
        raise exception using errcode = 'OS002', message = format('there is no principal %s', coalesce(issue_ticket.principal_id::text, 'NULL')),
            hint = 'SELECT principal_id, display_name FROM aos_auth.principal lists them.';
    elsif not v_principal.is_active then
        raise exception using errcode = 'OS003', message = format('principal %s is not active', issue_ticket.principal_id),
            hint = 'Set is_active of the principal and of its tenant.';
    elsif aos_auth._newest_ticket_key() is null then
        raise exception using errcode = 'OS003', message = 'there is no key to sign tickets with',
            hint = 'SELECT aos_auth.create_ticket_key(''main'') makes one.';
    end if;
    v_ticket := aos_auth._sign_ticket(v_principal.tenant_id, issue_ticket.principal_id, issue_ticket.seconds);
    return v_ticket;
end
$$;
comment on function aos_auth.issue_ticket(uuid, integer) is
    'Makes a ticket for a principal, valid for 1 to 60 seconds in this database. An application signs its own: docs/access.md.';

grant execute on function aos_auth.begin(text)
    to pgagentos_user, pgagentos_developer, pgagentos_approver, pgagentos_worker, pgagentos_auditor, pgagentos_secret_manager, pgagentos_operator;
grant execute on function aos_auth.create_ticket_key(text, timestamptz), aos_auth.drop_ticket_key(text), aos_auth.issue_ticket(uuid, integer)
    to pgagentos_operator;
-- Not the key, not even sealed.
grant select (key_id, master_key_id, not_after, created_at) on aos_auth.ticket_key to pgagentos_operator, pgagentos_auditor;
