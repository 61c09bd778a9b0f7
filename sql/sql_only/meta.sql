--@ instead of function aos_meta._has_api_key
create function aos_meta._has_api_key(provider text, tenant_id uuid) returns boolean
    language sql stable set search_path = pg_catalog, pg_temp
return false;
comment on function aos_meta._has_api_key(text, uuid) is 'False: no key is here, an outside worker has them.';

--@ instead of function aos_meta.has_api_key
create function aos_meta.has_api_key(provider text, tenant_id uuid default null) returns boolean
    language sql stable set search_path = pg_catalog, pg_temp
return false;
comment on function aos_meta.has_api_key(text, uuid) is 'False: this database calls no model, an outside worker with its own keys does.';

--@ instead of do aos_meta/model.sql
create function aos_meta.embed(content text, input_type text default 'query') returns text
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = 'feature_not_supported', message = 'this database calls no model and makes no vectors',
        hint = 'UPDATE aos_meta.setting SET value = ''null'' WHERE name = ''embedding_model''; session memory is then searched by words.';
end
$$;
comment on function aos_meta.embed(text, text) is 'An error: this database calls no model. Session memory is searched by words.';

--@ instead of do aos_meta/policies.sql
grant execute on function aos_meta.has_api_key(text, uuid) to pgagentos_developer;
