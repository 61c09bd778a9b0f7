-- Skills that are a request to a service, and the hosts that they may call. The rules by which a request is made, judged
-- and read are in plpy_src/pgagentos/skills/http_skill.py; docs/http_skills.md tells them.

create table aos_skills.http_endpoint (
    skill_id uuid not null,
    tenant_id uuid,
    method text,
    url_template text,
    headers jsonb not null default '{}',
    body_template jsonb,
    timeout_seconds numeric,
    max_response_bytes integer,
    max_redirects integer,
    is_idempotent boolean,
    is_builtin boolean not null default false,
    constraint http_endpoint_pkey primary key (skill_id),
    constraint http_endpoint_belongs_to_a_skill foreign key (skill_id) references aos_skills.skill (skill_id)
        on delete cascade on update cascade,
    constraint http_endpoint_method_is_known check (method in ('GET', 'POST', 'PUT', 'PATCH', 'DELETE')),
    constraint http_endpoint_has_both_method_and_url check ((method is null) = (url_template is null)),
    -- Places stand in path and query only: what is before them is fixed.
    constraint http_endpoint_url_has_a_fixed_host check (
        url_template ~ '^https?://(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+)(:[1-9]\d{0,4})?([/?].*)?$'
        and url_template !~ '[^!-~]|[#\\]' and url_template !~* '\{secret:'),
    constraint http_endpoint_headers_are_an_object check (jsonb_typeof(headers) = 'object'),
    constraint http_endpoint_body_needs_a_method_that_has_one check (body_template is null or method in ('POST', 'PUT', 'PATCH')),
    constraint http_endpoint_timeout_is_between_0_and_300_seconds check (timeout_seconds > 0 and timeout_seconds <= 300),
    constraint http_endpoint_response_has_at_most_16_mebibytes check (max_response_bytes between 1 and 16777216),
    constraint http_endpoint_redirects_are_at_most_10 check (max_redirects between 0 and 10)
);
comment on table aos_skills.http_endpoint is 'How a skill with the implementation http calls its service. Written by register_http_skill.';
comment on column aos_skills.http_endpoint.tenant_id is 'The tenant of the skill; null: every tenant''s.';
comment on column aos_skills.http_endpoint.method is 'GET, POST, PUT, PATCH or DELETE; null: the model names method, URL, headers and body.';
comment on column aos_skills.http_endpoint.url_template is 'The URL, with {argument} in path and query where an argument belongs.';
comment on column aos_skills.http_endpoint.headers is 'Header fields by name; {secret:name} in a value is replaced by the secret just before it is sent.';
comment on column aos_skills.http_endpoint.body_template is 'JSON body with "{argument}" where an argument belongs; null: the arguments that the URL does not use, as an object.';
comment on column aos_skills.http_endpoint.timeout_seconds is 'Most time for a call, redirects included; null: the setting http_timeout_seconds.';
comment on column aos_skills.http_endpoint.max_response_bytes is 'A longer answer is refused; null: the setting http_max_response_bytes.';
comment on column aos_skills.http_endpoint.max_redirects is 'How many redirects are followed; null: the setting http_max_redirects.';
comment on column aos_skills.http_endpoint.is_idempotent is 'True: a request whose answer was lost may be sent once more, under the same Idempotency-Key; false: a person is asked; null: by its method, as RFC 9110 says (GET, PUT and DELETE may).';
comment on column aos_skills.http_endpoint.is_builtin is 'True while the row is as CREATE EXTENSION made it; pg_dump leaves such rows out.';

create table aos_skills.http_host (
    host_id uuid not null default gen_random_uuid(),
    tenant_id uuid,
    skill_id uuid,
    scheme text not null default 'https',
    host text not null,
    port integer not null default 443,
    allow_private boolean not null default false,
    created_at timestamptz not null default now(),
    constraint http_host_pkey primary key (host_id),
    constraint http_host_belongs_to_a_tenant foreign key (tenant_id) references aos_auth.tenant (tenant_id),
    constraint http_host_is_for_a_skill foreign key (skill_id) references aos_skills.skill (skill_id) on delete cascade on update cascade,
    constraint http_host_scheme_is_known check (scheme in ('https', 'http')),
    constraint http_host_port_is_between_1_and_65535 check (port between 1 and 65535),
    -- The forms that pgagentos.net.plain_url lets through, or such a name's subdomains: *.example.com
    constraint http_host_is_a_name_or_an_address check (
        length(host) <= 255
        and (host ~ '^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)$'
            or host ~ '^[0-9a-f:]*:[0-9a-f:]*$'
            or (host ~ '^(\*\.[a-z0-9_-]+\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$'
                and host !~ '(^|\.)(\d+|0x[0-9a-f]*)$')))
);
-- Null stands for all here, so there must be one of it.
create unique index http_host_is_listed_once on aos_skills.http_host
    (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'), coalesce(skill_id, '00000000-0000-0000-0000-000000000000'), host, port, scheme);
create index http_host_skill on aos_skills.http_host (skill_id);
comment on table aos_skills.http_host is 'The allow-list of skills that call services: without a row that matches, nothing is called. Written by allow_host.';
comment on column aos_skills.http_host.tenant_id is 'The tenant whose calls it allows; null: every tenant''s.';
comment on column aos_skills.http_host.skill_id is 'The skill whose calls it allows; null: all http skills.';
comment on column aos_skills.http_host.host is 'Name, address, or *.domain for all names below a domain (not for the domain itself).';
comment on column aos_skills.http_host.allow_private is 'True: its addresses may belong to the organisation''s own network or to this machine. Set by operators only.';

select pg_catalog.pg_extension_config_dump('aos_skills.http_endpoint', 'where not is_builtin');
select pg_catalog.pg_extension_config_dump('aos_skills.http_host', '');

create function aos_skills._http_endpoint_tenant() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    select s.tenant_id into new.tenant_id from aos_skills.skill as s where s.skill_id = new.skill_id;
    return new;
end
$$;
comment on function aos_skills._http_endpoint_tenant() is 'Trigger: an endpoint belongs to the tenant of its skill.';

create trigger endpoint_tenant before insert or update of skill_id, tenant_id on aos_skills.http_endpoint
    for each row execute function aos_skills._http_endpoint_tenant();
create trigger own_preset before update on aos_skills.http_endpoint for each row execute function aos_meta._own_preset();
create trigger replace_preset before insert on aos_skills.http_endpoint for each row execute function aos_meta._replace_preset('skill_id');

create function aos_skills._http_call(skill_id uuid, tenant_id uuid) returns jsonb
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    -- Not in SQL: PL/pgSQL keeps the plan for the session.
    return (select jsonb_build_object('skill_id', s.skill_id, 'name', s.name, 'skill_tenant_id', s.tenant_id,
               'method', e.method, 'url_template', e.url_template, 'headers', e.headers, 'body_template', e.body_template,
               'timeout_seconds', coalesce(e.timeout_seconds, (l.limits ->> 'http_timeout_seconds')::numeric, 20),
               'max_request_bytes', coalesce(l.limits -> 'http_max_request_bytes', '262144'),
               'max_response_bytes', coalesce(to_jsonb(e.max_response_bytes), l.limits -> 'http_max_response_bytes', '1048576'),
               'max_body_characters', coalesce(l.limits -> 'http_max_body_characters', '50000'),
               'max_redirects', coalesce(to_jsonb(e.max_redirects), l.limits -> 'http_max_redirects', '0'),
               'hosts', (select coalesce(jsonb_agg(jsonb_build_object('scheme', h.scheme, 'host', h.host, 'port', h.port,
                                    'allow_private', h.allow_private)), '[]')
                           from aos_skills.http_host as h
                          where (h.tenant_id is null or h.tenant_id = _http_call.tenant_id)
                            and (h.skill_id is null or h.skill_id = s.skill_id)))
      from aos_skills.skill as s
      join aos_skills.http_endpoint as e on e.skill_id = s.skill_id
      cross join (select jsonb_object_agg(t.name, t.value) as limits from aos_meta.setting as t where t.name like 'http\_%') as l
     where s.skill_id = _http_call.skill_id and s.implementation = 'http'
       and (s.tenant_id is null or s.tenant_id = _http_call.tenant_id));
end
$$;
comment on function aos_skills._http_call(uuid, uuid) is
    'All that a call of an http skill for a tenant needs: the endpoint, the limits, the allow-list. Null when there is no such endpoint.';

create function aos_skills._is_repeatable(skill_id uuid, arguments json) returns boolean
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce((select coalesce(e.is_idempotent, upper(coalesce(e.method, _is_repeatable.arguments ->> 'method', 'GET')) in ('GET', 'PUT', 'DELETE'))
                       from aos_skills.http_endpoint as e where e.skill_id = _is_repeatable.skill_id),
        (select s.is_idempotent from aos_skills.skill as s where s.skill_id = _is_repeatable.skill_id), false);
end
$$;
comment on function aos_skills._is_repeatable(uuid, json) is
    'Whether a call of a skill that acts outside the database may be made once more when it is not known what became of it.';

create function aos_skills._refuse_http_templates(parameters jsonb, url text, headers jsonb, body jsonb) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_wrong text;
begin
    select m[1] into v_wrong
      from regexp_matches(_refuse_http_templates.url || ' ' || coalesce(_refuse_http_templates.body::text, ''),
               '\{([A-Za-z_][A-Za-z0-9_-]*)\}', 'g') as m
     where not coalesce(_refuse_http_templates.parameters -> 'properties' ? m[1], false)
     limit 1;
    if found then
        raise exception using errcode = 'OS001', message = format('the template names {%s}, which is no argument of the skill', v_wrong),
            hint = 'Every name in braces has to be a property in parameters.';
    end if;
    select m[1] into v_wrong
      from regexp_matches(split_part(_refuse_http_templates.url, '?', 1), '\{([A-Za-z_][A-Za-z0-9_-]*)\}', 'g') as m
     where not coalesce(_refuse_http_templates.parameters -> 'required' ? m[1], false)
     limit 1;
    if found then
        raise exception using errcode = 'OS001', message = format('the argument %s stands in the path and is not required', v_wrong),
            hint = 'List it under "required" in parameters: a path cannot do without it.';
    end if;
    select h.key into v_wrong
      from jsonb_each(_refuse_http_templates.headers) as h
     where h.key !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]+$' or jsonb_typeof(h.value) <> 'string' or h.value #>> '{}' ~ '[\x01-\x08\x0a-\x1f\x7f]'
        or lower(h.key) in ('host', 'connection', 'content-length', 'transfer-encoding', 'te', 'trailer', 'upgrade', 'keep-alive', 'expect',
               'accept-encoding', 'proxy-authorization', 'proxy-authenticate', 'proxy-connection')
     limit 1;
    if found then
        raise exception using errcode = 'OS001', message = format('the header %L cannot be set, or its value is no line of text', v_wrong),
            hint = 'Headers are an object of names and texts; those of the connection are set by the kernel.';
    end if;
end
$$;
comment on function aos_skills._refuse_http_templates(jsonb, text, jsonb, jsonb) is
    'Raises an error when templates of an http skill name arguments that it has not, or headers that cannot be sent.';

create function aos_skills.register_http_skill(
        name text, description text, parameters jsonb, method text, url text, headers jsonb default '{}', tenant_id uuid default null,
        body jsonb default null, approval text default 'auto', risk text default 'medium', timeout_seconds double precision default null,
        max_response_bytes integer default null, max_redirects integer default null, is_idempotent boolean default null)
    returns uuid
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_id uuid := coalesce(register_http_skill.tenant_id, aos_auth.tenant_id());
    v_skill_id uuid;
    v_header text;
    v_host text;
begin
    perform aos_auth._require('developer');
    if register_http_skill.method is null or register_http_skill.url is null then
        raise exception using errcode = 'OS001', message = 'an http skill needs a method and a url',
            hint = 'For URLs that the model chooses there is the skill http_request.';
    end if;
    perform aos_skills._refuse_http_templates(register_http_skill.parameters, register_http_skill.url, register_http_skill.headers,
        register_http_skill.body);
    update aos_skills.skill as s
       set description = register_http_skill.description, parameters = register_http_skill.parameters, implementation = 'http',
           function_name = null, is_idempotent = false, approval = register_http_skill.approval, risk = register_http_skill.risk, is_active = true
     where s.name = register_http_skill.name and s.tenant_id is not distinct from v_tenant_id
    returning s.skill_id into v_skill_id;
    if v_skill_id is null then
        insert into aos_skills.skill (tenant_id, name, description, parameters, implementation, approval, risk)
        values (v_tenant_id, register_http_skill.name, register_http_skill.description, register_http_skill.parameters, 'http',
            register_http_skill.approval, register_http_skill.risk)
        returning skill_id into v_skill_id;
    end if;
    insert into aos_skills.http_endpoint as e (skill_id, method, url_template, headers, body_template, timeout_seconds, max_response_bytes, max_redirects,
        is_idempotent)
    values (v_skill_id, upper(register_http_skill.method), register_http_skill.url, register_http_skill.headers, register_http_skill.body,
        register_http_skill.timeout_seconds, register_http_skill.max_response_bytes, register_http_skill.max_redirects,
        register_http_skill.is_idempotent)
    on conflict on constraint http_endpoint_pkey do update
        set (method, url_template, headers, body_template, timeout_seconds, max_response_bytes, max_redirects, is_idempotent)
            = (excluded.method, excluded.url_template, excluded.headers, excluded.body_template, excluded.timeout_seconds,
               excluded.max_response_bytes, excluded.max_redirects, excluded.is_idempotent);
    select h.key into v_header
      from jsonb_each_text(register_http_skill.headers) as h
     where lower(h.key) in ('authorization', 'cookie', 'x-api-key', 'api-key', 'x-auth-token') and h.value !~ '\{secret:[^{}]+\}'
     limit 1;
    if found then
        raise warning using message = format('the header %s of %s is stored as plain text', v_header, register_http_skill.name),
            hint = format('Store its value with aos_meta.set_secret and write {secret:name}: {"%s": "Bearer {secret:name}"}.', v_header);
    end if;
    v_host := lower(translate(substring(register_http_skill.url from '^https?://(\[[^]]*\]|[^/?:]*)'), '[]', ''));
    if not exists (select from aos_skills.http_host as h
                    where (h.tenant_id is null or h.tenant_id = v_tenant_id) and (h.skill_id is null or h.skill_id = v_skill_id)
                      and (h.host = v_host or h.host like '*.%' and right(v_host, length(h.host) - 1) = substr(h.host, 2)))
    then
        raise notice using message = format('%s is not on the allow-list yet', v_host),
            hint = format('SELECT aos_skills.allow_host(%L%s) lets the skill call it%s.', v_host,
                concat(', tenant_id => ' || quote_literal(v_tenant_id), ', skill_name => ', quote_literal(register_http_skill.name),
                       ', port => ' || substring(register_http_skill.url from '^https?://(?:\[[^]]*\]|[^/?:]*):(\d+)'),
                       case when register_http_skill.url ~ '^http:' then ', scheme => ''http''' end),
                case when register_http_skill.url ~ '^http:' then ', by an operator; in the own network with allow_private => true' end);
    end if;
    return v_skill_id;
end
$$;
comment on function aos_skills.register_http_skill(text, text, jsonb, text, text, jsonb, uuid, jsonb, text, text, double precision, integer, integer, boolean) is
    'Makes a request to a service a skill (or renews one of that name). url may have {argument} in path and query, headers {secret:name}, body "{argument}"; arguments that no template uses become the JSON body, or the query of GET and DELETE. tenant_id null: of the caller''s tenant, or, by an operator, every tenant''s. is_idempotent: whether a request whose answer was lost may be sent once more. The host has to be on the allow-list: allow_host. Returns skill_id.';

alter table aos_skills.http_endpoint enable row level security;
alter table aos_skills.http_endpoint force row level security;
create policy tenant on aos_skills.http_endpoint
    using ((select aos_auth._visible_tenant()) = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']));
-- What holds for all tenants is used by the kernel for each of them; only operators see and change it.
create policy shared on aos_skills.http_endpoint for select to pgagentos_kernel using (tenant_id is null);
create policy developer_adds on aos_skills.http_endpoint as restrictive for insert with check ((select aos_auth.has_access('developer')));
create policy developer_changes on aos_skills.http_endpoint as restrictive for update using ((select aos_auth.has_access('developer')));
create policy developer_deletes on aos_skills.http_endpoint as restrictive for delete using ((select aos_auth.has_access('developer')));

alter table aos_skills.http_host enable row level security;
alter table aos_skills.http_host force row level security;
create policy tenant on aos_skills.http_host
    using ((select aos_auth._visible_tenant()) = any (array[tenant_id, '00000000-0000-0000-0000-000000000000']));
create policy shared on aos_skills.http_host for select to pgagentos_kernel using (tenant_id is null);
create policy developer_adds on aos_skills.http_host as restrictive for insert with check ((select aos_auth.has_access('developer')));
create policy developer_changes on aos_skills.http_host as restrictive for update using ((select aos_auth.has_access('developer')));
create policy developer_deletes on aos_skills.http_host as restrictive for delete using ((select aos_auth.has_access('developer')));
-- Whatever way the row comes in.
create policy operator_opens on aos_skills.http_host as restrictive
    using (true)
    with check ((scheme = 'https' and not allow_private) or (select aos_auth._visible_tenant()) = '00000000-0000-0000-0000-000000000000');

grant select on aos_skills.http_endpoint, aos_skills.http_host to pgagentos_developer, pgagentos_auditor, pgagentos_operator;
grant insert, update, delete on aos_skills.http_endpoint, aos_skills.http_host to pgagentos_operator;
grant execute on function
        aos_skills.register_http_skill(text, text, jsonb, text, text, jsonb, uuid, jsonb, text, text, double precision, integer, integer, boolean)
    to pgagentos_developer, pgagentos_operator;

insert into aos_skills.skill (skill_id, name, description, parameters, implementation, risk, is_builtin)
values ('b0a05000-0000-5000-8000-000000000006', 'http_request',
    'Sends an HTTPS request to a host on the allow-list and returns status, content type and body of the answer.',
    '{"type": "object", "properties": {
        "url": {"type": "string", "description": "absolute https address; special characters in path and query are percent-encoded"},
        "method": {"type": "string", "enum": ["GET", "POST", "PUT", "PATCH", "DELETE"], "description": "GET when left out"},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}, "description": "header fields by name"},
        "body": {"type": "string", "description": "text to send, for example JSON"}},
      "required": ["url"], "additionalProperties": false}',
    'http', 'high', true);
insert into aos_skills.http_endpoint (skill_id, is_builtin) values ('b0a05000-0000-5000-8000-000000000006', true);
