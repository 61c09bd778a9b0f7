create function aos_meta.setting(name text) returns jsonb
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return (select s.value from aos_meta.setting as s where s.name = setting.name);
end
$$;
comment on function aos_meta.setting(text) is 'The value of a setting; null when there is no such setting.';

create function aos_meta.call_cost(
    model aos_meta.llm_model_registry, input_tokens integer, cached_tokens integer, cache_write_tokens integer, output_tokens integer)
    returns numeric
    language sql immutable parallel safe
return round((
      (coalesce(input_tokens, 0) - coalesce(cached_tokens, 0) - coalesce(cache_write_tokens, 0)) * (model).input_price
    + coalesce(cached_tokens, 0) * coalesce((model).cached_input_price, (model).input_price)
    + coalesce(cache_write_tokens, 0) * coalesce((model).cache_write_price, (model).input_price)
    + coalesce(output_tokens, 0) * (model).output_price) / 1000000, 8);
comment on function aos_meta.call_cost(aos_meta.llm_model_registry, integer, integer, integer, integer) is
    'US dollars that a model call cost; input_tokens hold the cached tokens and the cache writes. Null for a model without prices.';

create function aos_meta._has_api_key(provider text, tenant_id uuid) returns boolean
    language plpython3u volatile set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'meta.has_api_key', provider, tenant_id)
$$;
comment on function aos_meta._has_api_key(text, uuid) is 'has_api_key for any tenant; null: for the operator.';

create function aos_meta.has_api_key(provider text, tenant_id uuid default null) returns boolean
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return aos_meta._has_api_key(has_api_key.provider, aos_meta._secret_tenant(has_api_key.tenant_id));
end
$$;
comment on function aos_meta.has_api_key(text, uuid) is
    'True when the database has what it takes to call this provider for a tenant: it wants no key, or its key is a stored secret that the tenant may use, or is in the server''s environment. tenant_id: null: one''s own, or the operator''s keys alone. Nothing is called and nothing is opened.';

-- pgvector lives in the schema that its CREATE EXTENSION chose.
do $do$
begin
    execute (select format($create$
create function aos_meta.embed(content text, input_type text default 'query') returns %I.vector
    language plpython3u volatile security definer set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'meta.embed', content, input_type)
$$;
$create$, n.nspname) from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace where e.extname = 'vector');
end
$do$;
comment on function aos_meta.embed(text, text) is
    'The content as a vector, by the model that the setting embedding_model names. input_type: query or passage.';
