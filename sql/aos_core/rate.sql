-- Requests and tokens a minute. A limit of n is kept in every period of 60 seconds, not only in those of the clock: a
-- tenth of n may be used at once, and the rest flows in evenly.

create table aos_core.rate_bucket (
    scope text not null,
    scope_id text not null,
    requests double precision not null,
    tokens double precision not null,
    refilled_at timestamptz not null,
    waits_until timestamptz,
    constraint rate_bucket_pkey primary key (scope, scope_id)
) with (fillfactor = 50);
comment on table aos_core.rate_bucket is 'What is left of the requests and tokens that a provider or a tenant may use a minute, and how much of a provider''s each tenant has had.';
comment on column aos_core.rate_bucket.scope is 'provider; tenant; or tenant of and the name of a provider, for what a tenant has had of it.';
comment on column aos_core.rate_bucket.scope_id is 'The name of the provider, or the identity of the tenant.';
comment on column aos_core.rate_bucket.requests is 'Requests that are left; of a tenant of a provider: that it had, those of the last minute above all.';
comment on column aos_core.rate_bucket.tokens is 'Tokens, likewise; below 0 when a call used more than there were.';
comment on column aos_core.rate_bucket.waits_until is 'Of a tenant of a provider: until then it is expected to ask again, because there was nothing left for it.';

create function aos_core._rate_at_once(most integer) returns double precision
    language sql immutable parallel safe
return greatest(1, most / 10);
comment on function aos_core._rate_at_once(integer) is 'How much of so many a minute may be used at once.';

create function aos_core._rate_a_second(most integer) returns double precision
    language sql immutable parallel safe
return (most - greatest(1, most / 10) + 1) / 60.0::double precision;
comment on function aos_core._rate_a_second(integer) is
    'How much of so many a minute flows in: with what may be used at once never more than that in 60 seconds.';

create function aos_core._rate_left(left_then double precision, since timestamptz, most integer, at timestamptz) returns double precision
    language sql immutable parallel safe
return least(aos_core._rate_at_once(most),
    coalesce(left_then + aos_core._rate_a_second(most) * greatest(extract(epoch from at - since), 0)::double precision, 'infinity'));
comment on function aos_core._rate_left(double precision, timestamptz, integer, timestamptz) is
    'What is left at a time of what was left then; null for what was left: all. A most of null has no limit: null.';

create function aos_core._rate_wait(requests double precision, max_requests integer, tokens double precision, max_tokens integer)
    returns double precision
    language sql immutable parallel safe
-- Fractions of a request are rounded: an error of the last digit must not make somebody wait once more.
return ceil(1000 * greatest(0,
    case when requests < 1 - 1e-9 then (1 - requests) / aos_core._rate_a_second(max_requests) end,
    case when tokens <= 0 then (1 - tokens) / aos_core._rate_a_second(max_tokens) end)) / 1000;
comment on function aos_core._rate_wait(double precision, integer, double precision, integer) is
    'In how many seconds, to the millisecond, one request, and any token, will be left; 0: they are.';

create function aos_core._spent_providers() returns text[]
    language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
begin
    return (select coalesce(array_agg(p.provider), '{}')
              from aos_meta.provider as p
              join aos_core.rate_bucket as b on b.scope = 'provider' and b.scope_id = p.provider
             where (p.requests_per_minute is not null or p.tokens_per_minute is not null)
               and aos_core._rate_wait(aos_core._rate_left(b.requests, b.refilled_at, p.requests_per_minute, aos_core._now()), p.requests_per_minute,
                   aos_core._rate_left(b.tokens, b.refilled_at, p.tokens_per_minute, aos_core._now()), p.tokens_per_minute) > 0);
end
$$;
comment on function aos_core._spent_providers() is 'The providers of whose requests or tokens nothing is left at the moment: no turn of theirs is claimed.';

create function aos_core._lock_rates() returns timestamptz
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    -- One lock for all buckets, the one of the limits of turns: nobody holds one of them and waits for another.
    lock table only aos_core.limit_gate in share update exclusive mode;
    return aos_core._now();
end
$$;
comment on function aos_core._lock_rates() is 'Lets one transaction at a time at the buckets; returns the time.';

create function aos_core._set_bucket(scope text, scope_id text, requests double precision, tokens double precision, at timestamptz,
        waits_until timestamptz default null) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    insert into aos_core.rate_bucket as b (scope, scope_id, requests, tokens, refilled_at, waits_until)
    values (_set_bucket.scope, _set_bucket.scope_id, coalesce(_set_bucket.requests, 0), coalesce(_set_bucket.tokens, 0), _set_bucket.at,
        _set_bucket.waits_until)
    on conflict on constraint rate_bucket_pkey do update
       set requests = excluded.requests, tokens = excluded.tokens, refilled_at = excluded.refilled_at, waits_until = excluded.waits_until;
end
$$;
comment on function aos_core._set_bucket(text, text, double precision, double precision, timestamptz, timestamptz) is 'Writes down what is left in a bucket.';

create function aos_core._rate_state(provider text, tenant_id uuid, at timestamptz,
        out provider_requests double precision, out provider_tokens double precision, out max_provider_requests integer,
        out max_provider_tokens integer, out tenant_requests double precision, out tenant_tokens double precision,
        out max_tenant_requests integer, out max_tenant_tokens integer, out had_requests double precision, out had_tokens double precision)
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    select p.requests_per_minute, p.tokens_per_minute, aos_core._rate_left(b.requests, b.refilled_at, p.requests_per_minute, at),
           aos_core._rate_left(b.tokens, b.refilled_at, p.tokens_per_minute, at)
      into max_provider_requests, max_provider_tokens, provider_requests, provider_tokens
      from aos_meta.provider as p
      left join aos_core.rate_bucket as b on b.scope = 'provider' and b.scope_id = p.provider
     where p.provider = _rate_state.provider;
    select t.requests_per_minute, t.tokens_per_minute, aos_core._rate_left(b.requests, b.refilled_at, t.requests_per_minute, at),
           aos_core._rate_left(b.tokens, b.refilled_at, t.tokens_per_minute, at)
      into max_tenant_requests, max_tenant_tokens, tenant_requests, tenant_tokens
      from aos_auth.tenant as t
      left join aos_core.rate_bucket as b on b.scope = 'tenant' and b.scope_id = t.tenant_id::text
     where t.tenant_id = _rate_state.tenant_id;
    -- Of what was had a minute ago a good third still counts.
    select b.requests * exp(-greatest(extract(epoch from at - b.refilled_at), 0)::double precision / 60),
           b.tokens * exp(-greatest(extract(epoch from at - b.refilled_at), 0)::double precision / 60)
      into had_requests, had_tokens
      from aos_core.rate_bucket as b where b.scope = 'tenant of ' || _rate_state.provider and b.scope_id = _rate_state.tenant_id::text;
end
$$;
comment on function aos_core._rate_state(text, uuid, timestamptz) is 'What is left to a tenant at a provider at a time, and what the tenant has had of it.';

create function aos_core._take_rate(provider text, tenant_id uuid) returns interval
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_now timestamptz := aos_core._now();
    v_state record;
    v_wait double precision;
    v_share double precision;
    v_of constant text := 'tenant of ' || _take_rate.provider;
begin
    select * into v_state from aos_core._rate_state(_take_rate.provider, _take_rate.tenant_id, v_now);
    if num_nonnulls(v_state.max_provider_requests, v_state.max_provider_tokens, v_state.max_tenant_requests, v_state.max_tenant_tokens) = 0 then
        return null;
    end if;
    v_now := aos_core._lock_rates();
    select * into v_state from aos_core._rate_state(_take_rate.provider, _take_rate.tenant_id, v_now);
    v_wait := aos_core._rate_wait(v_state.tenant_requests, v_state.max_tenant_requests, v_state.tenant_tokens, v_state.max_tenant_tokens);
    if v_wait > 0 then
        return make_interval(secs => v_wait);
    end if;
    if num_nonnulls(v_state.max_provider_requests, v_state.max_provider_tokens) > 0 then
        v_wait := aos_core._rate_wait(v_state.provider_requests, v_state.max_provider_requests, v_state.provider_tokens, v_state.max_provider_tokens);
        -- What a tenant has had, of whichever is scarcer. One that waits and has had less comes first.
        v_share := greatest(v_state.had_requests / v_state.max_provider_requests, v_state.had_tokens / v_state.max_provider_tokens, 0);
        if v_wait = 0 and exists (
            select from aos_core.rate_bucket as b
             where b.scope = v_of and b.scope_id <> _take_rate.tenant_id::text and b.waits_until > v_now
               and v_share - exp(-greatest(extract(epoch from v_now - b.refilled_at), 0)::double precision / 60)
                   * greatest(b.requests / v_state.max_provider_requests, b.tokens / v_state.max_provider_tokens, 0) > 1e-6)
        then
            v_wait := coalesce(1 / aos_core._rate_a_second(v_state.max_provider_requests), 1);
        end if;
        if v_wait > 0 then
            perform aos_core._set_bucket(v_of, _take_rate.tenant_id::text, v_state.had_requests, v_state.had_tokens, v_now,
                v_now + make_interval(secs => v_wait + 2));
            return make_interval(secs => v_wait);
        end if;
        perform aos_core._set_bucket('provider', _take_rate.provider, v_state.provider_requests - 1, v_state.provider_tokens, v_now);
        perform aos_core._set_bucket(v_of, _take_rate.tenant_id::text, coalesce(v_state.had_requests, 0) + 1, v_state.had_tokens, v_now);
    end if;
    if num_nonnulls(v_state.max_tenant_requests, v_state.max_tenant_tokens) > 0 then
        perform aos_core._set_bucket('tenant', _take_rate.tenant_id::text, v_state.tenant_requests - 1, v_state.tenant_tokens, v_now);
    end if;
    return null;
end
$$;
comment on function aos_core._take_rate(text, uuid) is
    'Takes one request from what a provider and a tenant may have a minute. Null: go. Else how long to wait before asking again; nothing was taken then. Commit it before the call: others wait for that.';

create function aos_core._spend_rate(provider text, tenant_id uuid, tokens integer) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_now timestamptz := aos_core._now();
    v_state record;
begin
    select * into v_state from aos_core._rate_state(_spend_rate.provider, _spend_rate.tenant_id, v_now);
    if num_nonnulls(v_state.max_provider_requests, v_state.max_provider_tokens, v_state.max_tenant_tokens) = 0 or coalesce(_spend_rate.tokens, 0) <= 0 then
        return;
    end if;
    v_now := aos_core._lock_rates();
    select * into v_state from aos_core._rate_state(_spend_rate.provider, _spend_rate.tenant_id, v_now);
    if num_nonnulls(v_state.max_provider_requests, v_state.max_provider_tokens) > 0 then
        perform aos_core._set_bucket('provider', _spend_rate.provider, v_state.provider_requests, v_state.provider_tokens - _spend_rate.tokens, v_now);
        perform aos_core._set_bucket('tenant of ' || _spend_rate.provider, _spend_rate.tenant_id::text, v_state.had_requests,
            coalesce(v_state.had_tokens, 0) + _spend_rate.tokens, v_now,
            (select b.waits_until from aos_core.rate_bucket as b
              where b.scope = 'tenant of ' || _spend_rate.provider and b.scope_id = _spend_rate.tenant_id::text));
    end if;
    if v_state.max_tenant_tokens is not null then
        perform aos_core._set_bucket('tenant', _spend_rate.tenant_id::text, v_state.tenant_requests, v_state.tenant_tokens - _spend_rate.tokens, v_now);
    end if;
end
$$;
comment on function aos_core._spend_rate(text, uuid, integer) is
    'Counts the tokens that a call has used, when it is over: what calls on their way use is not known before.';

select pg_catalog.pg_extension_config_dump('aos_core.rate_bucket', '');
