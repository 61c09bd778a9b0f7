create table aos_meta.secret (
    secret_id uuid not null default gen_random_uuid(),
    tenant_id uuid,
    name text not null,
    ciphertext bytea not null,
    key_id text not null,
    hosts text[],
    available_to text not null default 'all',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    updated_by text not null default aos_auth.actor(),
    constraint secret_pkey primary key (secret_id),
    constraint secret_belongs_to_a_tenant foreign key (tenant_id) references aos_auth.tenant (tenant_id) on delete cascade,
    constraint secret_name_is_plain check (name ~ '^[A-Za-z0-9_.-]{1,100}$'),
    constraint secret_names_its_hosts_or_none check (cardinality(hosts) > 0 and array_position(hosts, null) is null),
    constraint secret_available_to_is_known check (available_to in ('all', 'granted')),
    constraint only_the_operators_secrets_are_granted check (available_to = 'all' or tenant_id is null)
);
create unique index secret_name_is_unique_for_its_owner
    on aos_meta.secret (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'), name);
comment on table aos_meta.secret is 'Keys of model providers and of services that skills call, sealed with the master key. Written by aos_meta.set_secret; nothing returns a value.';
comment on column aos_meta.secret.tenant_id is 'The tenant whose secret it is; null: the operator''s.';
comment on column aos_meta.secret.name is 'What aos_meta.provider.secret_name and skills call it by. A tenant''s secret comes before the operator''s of the same name.';
comment on column aos_meta.secret.ciphertext is 'An OpenPGP message (AES-256) that holds the value and whose it is: it cannot be opened as another row''s.';
comment on column aos_meta.secret.key_id is 'Which line of the master key file sealed it.';
comment on column aos_meta.secret.hosts is 'Where a skill may send it: names of hosts, or *.example.com for all below; null: nowhere, only to model providers.';
comment on column aos_meta.secret.available_to is 'Of an operator''s secret: all (every tenant may use it) or granted (those in aos_meta.secret_grant).';
comment on column aos_meta.secret.updated_by is 'Who set the value: the login, and behind a slash the principal.';

create table aos_meta.secret_grant (
    secret_id uuid not null,
    tenant_id uuid not null,
    granted_at timestamptz not null default now(),
    constraint secret_grant_pkey primary key (tenant_id, secret_id),
    constraint secret_grant_names_a_secret foreign key (secret_id) references aos_meta.secret (secret_id) on delete cascade,
    constraint secret_grant_names_a_tenant foreign key (tenant_id) references aos_auth.tenant (tenant_id) on delete cascade
);
create index secret_grant_secret on aos_meta.secret_grant (secret_id);
comment on table aos_meta.secret_grant is 'Which tenants may use an operator''s secret whose available_to is granted.';

select pg_catalog.pg_extension_config_dump('aos_meta.secret', '');
select pg_catalog.pg_extension_config_dump('aos_meta.secret_grant', '');

alter table aos_meta.secret enable row level security;
alter table aos_meta.secret force row level security;
create policy tenant on aos_meta.secret
    using ((select aos_auth._visible_tenant()) = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']));
alter table aos_meta.secret_grant enable row level security;
alter table aos_meta.secret_grant force row level security;
create policy tenant on aos_meta.secret_grant
    using ((select aos_auth._visible_tenant()) = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']));
-- Of the operator's secrets a tenant sees those that it may use.
create policy available on aos_meta.secret for select
    using (tenant_id is null and (select aos_auth._visible_tenant()) is not null
        and (available_to = 'all' or exists (select from aos_meta.secret_grant as g where g.secret_id = secret.secret_id)));

create function aos_meta._secret_purpose(tenant_id uuid, name text) returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return format('secret %s %s', coalesce(_secret_purpose.tenant_id::text, 'operator'), _secret_purpose.name);
end
$$;
comment on function aos_meta._secret_purpose(uuid, text) is 'What a secret is sealed for: whose it is and its name.';

create function aos_meta._secret_tenant(tenant_id uuid) returns uuid
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_visible uuid := aos_auth._visible_tenant();
begin
    if v_visible = '00000000-0000-0000-0000-000000000000' then
        return _secret_tenant.tenant_id;
    elsif v_visible = coalesce(_secret_tenant.tenant_id, v_visible) then
        return v_visible;
    end if;
    raise exception using errcode = 'insufficient_privilege', message = 'the secrets of a tenant are its own',
        hint = 'Leave tenant_id out. Whoever is no operator and no principal of a tenant (aos_auth.principal.db_role) has none.';
end
$$;
comment on function aos_meta._secret_tenant(uuid) is
    'Whose secrets are meant: for an operator the named tenant''s, or the operator''s own (null); for others those of their tenant.';

create function aos_meta._seal_secret(tenant_id uuid, name text, value text, out key_id text, out sealed bytea)
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_wrong text := case
        when _seal_secret.name is null or _seal_secret.name !~ '^[A-Za-z0-9_.-]{1,100}$' then
            'the name of a secret is 1 to 100 letters, digits, dots, dashes and underscores'
        when coalesce(_seal_secret.value, '') = '' then 'the secret has no value'
        when length(_seal_secret.value) > 65536 then 'the secret is longer than 65536 characters'
        when _seal_secret.value ~ '^\s|\s$' then 'the secret begins or ends with white space'
        end;
    v_sealed record;
begin
    if v_wrong is not null then
        raise exception using errcode = 'OS001', message = v_wrong,
            hint = 'aos_meta.set_secret(name, value). A key that was read from a file may have kept the end of its line.';
    end if;
    v_sealed := aos_meta._seal(aos_meta._secret_purpose(_seal_secret.tenant_id, _seal_secret.name), convert_to(_seal_secret.value, 'UTF8'));
    key_id := v_sealed.key_id;
    sealed := v_sealed.sealed;
end
$$;
comment on function aos_meta._seal_secret(uuid, text, text) is 'Seals a secret''s value, if it is one. Only ever called in an assignment.';

create function aos_meta._put_secret(owner_id uuid, secret_name text, sealed_by text, sealed bytea, host_names text[]) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_hosts text[];
begin
    select array_agg(distinct lower(h) order by lower(h)) into v_hosts from unnest(host_names) as h;
    if exists (select from unnest(v_hosts) as h where (h ~ '^(\*\.[a-z0-9-]+\.|[a-z0-9-])[a-z0-9.-]*$') is not true) then
        raise exception using errcode = 'OS001', message = 'a host of the secret is not the name of a host',
            hint = 'Names without scheme, port or path, for example api.example.com; *.example.com stands for all below it.';
    end if;
    insert into aos_meta.secret as s (tenant_id, name, ciphertext, key_id, hosts)
    values (owner_id, secret_name, sealed, sealed_by, v_hosts)
    on conflict (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'), name) do update
       set ciphertext = excluded.ciphertext, key_id = excluded.key_id, updated_at = now(), updated_by = excluded.updated_by,
           hosts = case when host_names is null then s.hosts else excluded.hosts end;
exception when foreign_key_violation then
    raise exception using errcode = 'OS002', message = format('there is no tenant %s', owner_id),
        hint = 'SELECT tenant_id, name FROM aos_auth.tenant lists them.';
end
$$;
comment on function aos_meta._put_secret(uuid, text, text, bytea, text[]) is 'Stores a sealed secret in place of the one of that name.';

create function aos_meta.set_secret(name text, value text, tenant_id uuid default null, hosts text[] default null) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_owner uuid := aos_meta._secret_tenant(set_secret.tenant_id);
    v_sealed record;
begin
    perform aos_auth._require('secret_manager');
    v_sealed := aos_meta._seal_secret(v_owner, set_secret.name, set_secret.value);
    perform aos_meta._put_secret(v_owner, set_secret.name, v_sealed.key_id, v_sealed.sealed, set_secret.hosts);
end
$$;
comment on function aos_meta.set_secret(text, text, uuid, text[]) is
    'Stores a secret, sealed, in place of the one of that name. Pass the value as a bound parameter: a literal is shown to whoever reads the server''s log. tenant_id: whose; null: the operator''s, or one''s own tenant''s. hosts: where a skill may send it; null leaves them, none at first.';

create function aos_meta.drop_secret(name text, tenant_id uuid default null) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_owner uuid := aos_meta._secret_tenant(drop_secret.tenant_id);
begin
    perform aos_auth._require('secret_manager');
    delete from aos_meta.secret as s where s.name = drop_secret.name and s.tenant_id is not distinct from v_owner;
    if not found then
        raise exception using errcode = 'OS002', message = format('there is no secret %L', drop_secret.name),
            hint = 'SELECT tenant_id, name FROM aos_meta.secret lists them; those without a tenant are the operator''s.';
    end if;
end
$$;
comment on function aos_meta.drop_secret(text, uuid) is 'Deletes a secret. tenant_id: as in set_secret.';

create function aos_meta.rotate_secrets() returns integer
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_key text[] := aos_meta._master_key();
    v_secret aos_meta.secret;
    v_purpose text;
    v_sealed record;
    v_rotated integer := 0;
begin
    if aos_auth._visible_tenant() is distinct from '00000000-0000-0000-0000-000000000000' then
        raise exception using errcode = 'insufficient_privilege', message = 'only an operator rotates the secrets',
            hint = 'The master key is one for all tenants.';
    end if;
    v_rotated := aos_auth._rotate_ticket_keys();
    for v_secret in select * from aos_meta.secret as s where s.key_id <> v_key[1] order by s.secret_id for update loop
        v_purpose := aos_meta._secret_purpose(v_secret.tenant_id, v_secret.name);
        v_sealed := aos_meta._seal(v_purpose, aos_meta._open_sealed(v_purpose, v_secret.key_id, v_secret.ciphertext));
        update aos_meta.secret as s set ciphertext = v_sealed.sealed, key_id = v_sealed.key_id where s.secret_id = v_secret.secret_id;
        v_rotated := v_rotated + 1;
    end loop;
    return v_rotated;
end
$$;
comment on function aos_meta.rotate_secrets() is
    'Seals every secret and every ticket key anew that was sealed with another than the first line of the master key file. Returns how many.';

create function aos_meta._find_secret(name text, tenant_id uuid) returns aos_meta.secret
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_secret aos_meta.secret;
begin
    -- Whether the tenant may use the operator's is decided here as well as by row security, which lets an operator see all.
    select s.* into v_secret
      from aos_meta.secret as s
     where coalesce(s.tenant_id, '00000000-0000-0000-0000-000000000000')
               in ('00000000-0000-0000-0000-000000000000', _find_secret.tenant_id)
       and s.name = _find_secret.name
       and (s.tenant_id is not null or s.available_to = 'all' or _find_secret.tenant_id is null
            or exists (select from aos_meta.secret_grant as g
                        where g.secret_id = s.secret_id and g.tenant_id = _find_secret.tenant_id))
     order by s.tenant_id is null
     limit 1;
    return v_secret;
end
$$;
comment on function aos_meta._find_secret(text, uuid) is
    'The secret of that name that a tenant uses: its own, else the operator''s if the tenant may have it. Null when there is none.';

create function aos_meta._has_secret(name text, tenant_id uuid) returns boolean
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return (aos_meta._find_secret(_has_secret.name, _has_secret.tenant_id)).secret_id is not null;
end
$$;
comment on function aos_meta._has_secret(text, uuid) is 'Whether _secret has something to open.';

create function aos_meta._secret(name text, tenant_id uuid) returns text
    language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_secret aos_meta.secret := aos_meta._find_secret(_secret.name, _secret.tenant_id);
begin
    if v_secret.secret_id is null then
        return null;
    end if;
    return convert_from(
        aos_meta._open_sealed(aos_meta._secret_purpose(v_secret.tenant_id, v_secret.name), v_secret.key_id, v_secret.ciphertext), 'UTF8');
end
$$;
comment on function aos_meta._secret(text, uuid) is 'The value of a secret that a tenant uses, for the kernel to send to a provider; null when there is none.';

create function aos_meta._secret_for_http(name text, tenant_id uuid, skill_tenant_id uuid, host text) returns text
    language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_secret aos_meta.secret;
begin
    select s.* into v_secret
      from aos_meta.secret as s
     where s.name = _secret_for_http.name
       and s.tenant_id is not distinct from _secret_for_http.skill_tenant_id
       and (s.tenant_id = _secret_for_http.tenant_id
            or s.tenant_id is null and (s.available_to = 'all'
                or exists (select from aos_meta.secret_grant as g
                            where g.secret_id = s.secret_id and g.tenant_id = _secret_for_http.tenant_id)))
       and exists (select from unnest(s.hosts) as h
                    where lower(_secret_for_http.host) = h
                       or h like '*.%' and length(_secret_for_http.host) >= length(h)
                          and right(lower(_secret_for_http.host), length(h) - 1) = substr(h, 2));
    if not found then
        return null;
    end if;
    return convert_from(
        aos_meta._open_sealed(aos_meta._secret_purpose(v_secret.tenant_id, v_secret.name), v_secret.key_id, v_secret.ciphertext), 'UTF8');
end
$$;
comment on function aos_meta._secret_for_http(text, uuid, uuid, text) is
    'The value of a secret for a skill to send to a host: the operator''s by an operator''s skill, a tenant''s by its own, and only to its hosts. Null when it may not be, or is not there.';

grant execute on function aos_meta.set_secret(text, text, uuid, text[]), aos_meta.drop_secret(text, uuid)
    to pgagentos_secret_manager, pgagentos_operator;
grant execute on function aos_meta.rotate_secrets() to pgagentos_operator;
-- The value is nobody's to read, not even sealed.
grant select (secret_id, tenant_id, name, key_id, hosts, available_to, created_at, updated_at, updated_by)
    on aos_meta.secret to pgagentos_secret_manager, pgagentos_auditor, pgagentos_operator;
grant update (available_to) on aos_meta.secret to pgagentos_operator;
-- The policy above looks into it with the rights of whoever reads the secrets.
grant select on aos_meta.secret_grant to pgagentos_secret_manager, pgagentos_auditor, pgagentos_operator;
grant insert, delete on aos_meta.secret_grant to pgagentos_operator;
