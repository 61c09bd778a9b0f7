create function aos_skills._host_row(host text, tenant_id uuid, skill_name text, port integer, scheme text) returns aos_skills.http_host
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_row aos_skills.http_host;
begin
    v_row.scheme := lower(_host_row.scheme);
    v_row.port := coalesce(_host_row.port, case v_row.scheme when 'http' then 80 else 443 end);
    v_row.host := lower(btrim(_host_row.host, '[]'));
    if v_row.host ~ '^[0-9a-f:]*:[0-9a-f:.]*$' then
        begin
            v_row.host := host(v_row.host::inet);
        exception when invalid_text_representation then
            raise exception using errcode = 'OS001', message = format('%L is no address', _host_row.host),
                hint = 'Write an IPv6 address without port, for example 2001:db8::1.';
        end;
    end if;
    if v_row.host ~ '[/@?#\s]' or v_row.host ~ ':\d+$' and v_row.host !~ ':.*:' then
        raise exception using errcode = 'OS001', message = format('%L is no host', _host_row.host),
            hint = 'Write only the host, for example api.example.com or *.example.com; the port and the scheme are arguments of their own.';
    end if;
    v_row.tenant_id := coalesce(_host_row.tenant_id, aos_auth.tenant_id());
    if _host_row.skill_name is not null then
        select s.skill_id into v_row.skill_id
          from aos_skills.skill as s
         where s.name = _host_row.skill_name and s.implementation = 'http' and (s.tenant_id is null or s.tenant_id = v_row.tenant_id)
         order by s.tenant_id is null  -- the tenant's own skill before a shared one of the same name
         limit 1;
        if not found then
            raise exception using errcode = 'OS002', message = format('there is no http skill %L', _host_row.skill_name),
                hint = 'Register it first with aos_skills.register_http_skill, or pass the tenant_id of the skill.';
        end if;
    end if;
    return v_row;
end
$$;
comment on function aos_skills._host_row(text, uuid, text, integer, text) is 'The row of the allow-list that the arguments of allow_host mean.';

create function aos_skills.allow_host(
        host text, tenant_id uuid default null, skill_name text default null, port integer default null, scheme text default 'https',
        allow_private boolean default false)
    returns uuid
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_row aos_skills.http_host := aos_skills._host_row(allow_host.host, allow_host.tenant_id, allow_host.skill_name, allow_host.port, allow_host.scheme);
    v_host_id uuid;
begin
    perform aos_auth._require('developer');
    if (allow_host.allow_private or v_row.scheme <> 'https' or v_row.tenant_id is null)
        and (select aos_auth._visible_tenant()) is distinct from '00000000-0000-0000-0000-000000000000'
    then
        raise exception using errcode = 'insufficient_privilege',
            message = 'only an operator may open the own network, plain http, or a host for all tenants',
            hint = 'Ask an operator, or allow the host with https and a public address for your own tenant.';
    end if;
    update aos_skills.http_host as h
       set allow_private = allow_host.allow_private
     where h.tenant_id is not distinct from v_row.tenant_id and h.skill_id is not distinct from v_row.skill_id
       and (h.scheme, h.host, h.port) = (v_row.scheme, v_row.host, v_row.port)
    returning h.host_id into v_host_id;
    if not found then
        insert into aos_skills.http_host (tenant_id, skill_id, scheme, host, port, allow_private)
        values (v_row.tenant_id, v_row.skill_id, v_row.scheme, v_row.host, v_row.port, allow_host.allow_private)
        returning host_id into v_host_id;
    end if;
    return v_host_id;
end
$$;
comment on function aos_skills.allow_host(text, uuid, text, integer, text, boolean) is
    'Puts a host on the allow-list of http skills: a name, an address, or *.domain. tenant_id null: the caller''s tenant, or, by an operator, all; skill_name null: all http skills; port null: 443, or 80 for http. allow_private opens the own network for this host; that, http and all tenants are the operator''s. Returns host_id.';

create function aos_skills.disallow_host(
        host text, tenant_id uuid default null, skill_name text default null, port integer default null, scheme text default 'https')
    returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_row aos_skills.http_host := aos_skills._host_row(disallow_host.host, disallow_host.tenant_id, disallow_host.skill_name, disallow_host.port,
        disallow_host.scheme);
begin
    perform aos_auth._require('developer');
    delete from aos_skills.http_host as h
     where h.tenant_id is not distinct from v_row.tenant_id and h.skill_id is not distinct from v_row.skill_id
       and (h.scheme, h.host, h.port) = (v_row.scheme, v_row.host, v_row.port);
    if not found then
        raise exception using errcode = 'OS002', message = format('%s is not on this allow-list', v_row.host),
            hint = 'SELECT * FROM aos_skills.http_host shows what is; tenant, skill, port and scheme have to be the same.';
    end if;
end
$$;
comment on function aos_skills.disallow_host(text, uuid, text, integer, text) is 'Takes a host off the allow-list, as it was put on it by allow_host with the same arguments.';

grant execute on function aos_skills.allow_host(text, uuid, text, integer, text, boolean), aos_skills.disallow_host(text, uuid, text, integer, text)
    to pgagentos_developer, pgagentos_operator;
