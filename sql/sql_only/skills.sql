--@ after aos_skills/tables.sql
alter table aos_skills.skill add constraint skill_runs_no_sql_of_models check (implementation <> 'sql_query');

--@ edit comment column aos_skills.skill.implementation
--< sql_query: the model''s own SQL, read-only. http: a request to a service. external: an outside worker runs it.
--> http: a request to a service, made by an outside worker. external: an outside worker runs it. sql_query is not to be had in a database without PL/Python.

--@ edit function aos_skills._invocation
--< 'from (select not pg_has_role(current_user, ''pgagentos_kernel'', ''member'') '
--> 'from (select not pg_has_role(current_user, (select n.nspowner from pg_namespace as n where n.nspname = ''aos_auth''), ''member'') '

--@ edit everywhere
--< implementation <> 'external'
--> implementation not in ('external', 'http')
--< case s.implementation when 'external' then 'awaiting_result' else 'run' end
--> case when s.implementation in ('external', 'http') then 'awaiting_result' else 'run' end
--< case e.implementation when 'external' then 'awaiting_result' else 'run' end
--> case when e.implementation in ('external', 'http') then 'awaiting_result' else 'run' end

--@ edit function aos_skills.register_http_skill
--< hint = format('Store its value with aos_meta.set_secret and write {secret:name}: {"%s": "Bearer {secret:name}"}.', v_header);
--> hint = format('Write {secret:name} for its value, {"%s": "Bearer {secret:name}"}, and let the outside worker know the secret.', v_header);

--@ instead of function aos_skills._argument_error
create function aos_skills._argument_error(parameters jsonb, arguments json) returns text
    language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    v_arguments jsonb;
    v_wrong text;
begin
    begin
        v_arguments := _argument_error.arguments::jsonb;
    exception when data_exception or statement_too_complex then
        return 'The arguments are nested too deeply, or hold a number or a character that cannot be stored.';
    end;
    if jsonb_typeof(v_arguments) <> 'object' then
        return 'The arguments must be one JSON object.';
    end if;
    v_wrong := aos_skills._schema_error(_argument_error.parameters, _argument_error.parameters, v_arguments, '', 0);
    return 'The arguments do not fit the tool: ' || v_wrong || '.';
end
$$;

create function aos_skills._schema_error(root jsonb, schema jsonb, value jsonb, place text, depth integer) returns text
    language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_type text := jsonb_typeof(_schema_error.value);
    v_what text := coalesce(nullif(_schema_error.place, ''), 'they');
    v_types jsonb := _schema_error.schema -> 'type';
    v_part jsonb;
    v_name text;
    v_wrong text;
    v_count integer;
begin
    if _schema_error.depth > 100 then
        return v_what || ' must not be nested so deeply';
    elsif _schema_error.schema = 'false' then
        return v_what || ' must not be there';
    elsif jsonb_typeof(_schema_error.schema) is distinct from 'object' then
        return null;  -- true
    end if;
    if _schema_error.schema ? '$ref' then
        v_part := case when _schema_error.schema ->> '$ref' ~ '^#(/[^~%]*)?$'
            then _schema_error.root #> string_to_array(nullif(substr(_schema_error.schema ->> '$ref', 3), ''), '/') end;
        if _schema_error.schema ->> '$ref' = '#' then
            v_part := _schema_error.root;
        elsif v_part is null then
            raise exception using errcode = 'OS001',
                message = format('the JSON Schema of the skill cannot be used: it refers to %s', _schema_error.schema ->> '$ref'),
                hint = 'Correct aos_skills.skill.parameters, or the limits of the skill.';
        end if;
        v_wrong := aos_skills._schema_error(_schema_error.root, v_part, _schema_error.value, _schema_error.place, _schema_error.depth + 1);
        if v_wrong is not null then
            return v_wrong;
        end if;
    end if;
    -- of any value
    if v_types is not null and not exists (
        select from jsonb_array_elements_text(case jsonb_typeof(v_types) when 'array' then v_types else jsonb_build_array(v_types) end) as t (name)
         where t.name = v_type or t.name = 'integer' and v_type = 'number' and _schema_error.value::numeric % 1 = 0)
    then
        return format('%s must be %s', v_what, case jsonb_typeof(v_types) when 'array'
            then (select string_agg(t.name, ' or ') from jsonb_array_elements_text(v_types) as t (name)) else v_types #>> '{}' end);
    elsif _schema_error.schema ? 'enum' and not exists (select from jsonb_array_elements(_schema_error.schema -> 'enum') as e (value)
                                                       where e.value = _schema_error.value)
    then
        return format('%s must be one of %s', v_what, _schema_error.schema -> 'enum');
    elsif _schema_error.schema ? 'const' and _schema_error.schema -> 'const' <> _schema_error.value then
        return format('%s must be %s', v_what, _schema_error.schema -> 'const');
    end if;
    -- of several schemas
    for v_part in select p.value from jsonb_array_elements(_schema_error.schema -> 'allOf') as p (value) loop
        v_wrong := aos_skills._schema_error(_schema_error.root, v_part, _schema_error.value, _schema_error.place, _schema_error.depth + 1);
        if v_wrong is not null then
            return v_wrong;
        end if;
    end loop;
    foreach v_name in array array['anyOf', 'oneOf'] loop
        if _schema_error.schema ? v_name then
            select count(*) into v_count from jsonb_array_elements(_schema_error.schema -> v_name) as p (value)
             where aos_skills._schema_error(_schema_error.root, p.value, _schema_error.value, _schema_error.place, _schema_error.depth + 1) is null;
            if v_count = 0 or v_name = 'oneOf' and v_count > 1 then
                return format('%s must be as %s one of what the schema offers', v_what, case v_name when 'oneOf' then 'exactly' else 'at least' end);
            end if;
        end if;
    end loop;
    if _schema_error.schema ? 'not'
        and aos_skills._schema_error(_schema_error.root, _schema_error.schema -> 'not', _schema_error.value, _schema_error.place,
                _schema_error.depth + 1) is null
    then
        return v_what || ' must not be as the schema excludes';
    end if;
    return case v_type
        when 'number' then aos_skills._number_error(_schema_error.schema, _schema_error.value::numeric, v_what)
        when 'string' then aos_skills._string_error(_schema_error.schema, _schema_error.value #>> '{}', v_what)
        when 'array' then aos_skills._array_error(_schema_error.root, _schema_error.schema, _schema_error.value, _schema_error.place, _schema_error.depth)
        when 'object' then aos_skills._object_error(_schema_error.root, _schema_error.schema, _schema_error.value, _schema_error.place, _schema_error.depth)
        end;
end
$$;
comment on function aos_skills._schema_error(jsonb, jsonb, jsonb, text, integer) is
    'What is wrong with a value by a JSON Schema, in words; null when it fits. root: the whole schema, for references into it. Keywords that it does not know are passed over: docs/sql_only.md lists those that it knows.';

create function aos_skills._number_error(schema jsonb, value numeric, what text) returns text
    language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit record;
    v_is_wrong boolean;
begin
    for v_limit in
        select k.name, (_number_error.schema ->> k.name)::numeric as bound, k.words
          from (values ('minimum', 'bigger than or equal to'), ('exclusiveMinimum', 'bigger than'), ('maximum', 'smaller than or equal to'),
                       ('exclusiveMaximum', 'smaller than'), ('multipleOf', 'multiple of')) as k (name, words)
         where jsonb_typeof(_number_error.schema -> k.name) = 'number'
    loop
        v_is_wrong := case v_limit.name
            when 'minimum' then _number_error.value < v_limit.bound
            when 'exclusiveMinimum' then _number_error.value <= v_limit.bound
            when 'maximum' then _number_error.value > v_limit.bound
            when 'exclusiveMaximum' then _number_error.value >= v_limit.bound
            else v_limit.bound > 0 and _number_error.value % v_limit.bound <> 0 end;
        if v_is_wrong then
            return format('%s must be %s %s', _number_error.what, v_limit.words, v_limit.bound);
        end if;
    end loop;
    return null;
end
$$;
comment on function aos_skills._number_error(jsonb, numeric, text) is 'What is wrong with a number by a JSON Schema.';

create function aos_skills._string_error(schema jsonb, value text, what text) returns text
    language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
    return case
        when length(_string_error.value) < (_string_error.schema ->> 'minLength')::numeric
            then format('%s must be longer than or equal to %s characters', _string_error.what, _string_error.schema -> 'minLength')
        when length(_string_error.value) > (_string_error.schema ->> 'maxLength')::numeric
            then format('%s must be shorter than or equal to %s characters', _string_error.what, _string_error.schema -> 'maxLength')
        when _string_error.value !~ (_string_error.schema ->> 'pattern')
            then format('%s must match pattern %s', _string_error.what, _string_error.schema ->> 'pattern')
        end;
exception when invalid_regular_expression then
    raise exception using errcode = 'OS001',
        message = format('the JSON Schema of the skill cannot be used: PostgreSQL does not read the pattern %s', _string_error.schema ->> 'pattern'),
        hint = 'Correct aos_skills.skill.parameters, or the limits of the skill.';
end
$$;
comment on function aos_skills._string_error(jsonb, text, text) is 'What is wrong with a string by a JSON Schema.';

create function aos_skills._array_error(root jsonb, schema jsonb, value jsonb, place text, depth integer) returns text
    language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_what text := coalesce(nullif(_array_error.place, ''), 'they');
    v_items jsonb := _array_error.schema -> 'items';
    v_item record;
    v_wrong text;
begin
    if jsonb_array_length(_array_error.value) < (_array_error.schema ->> 'minItems')::numeric then
        return format('%s must contain at least %s items', v_what, _array_error.schema -> 'minItems');
    elsif jsonb_array_length(_array_error.value) > (_array_error.schema ->> 'maxItems')::numeric then
        return format('%s must contain at most %s items', v_what, _array_error.schema -> 'maxItems');
    elsif _array_error.schema -> 'uniqueItems' = 'true'
        and (select count(*) <> count(distinct i.value) from jsonb_array_elements(_array_error.value) as i (value))
    then
        return v_what || ' must contain no item twice';
    elsif v_items is null then
        return null;
    end if;
    for v_item in
        select i.value, i.no - 1 as no,
               case when jsonb_typeof(v_items) = 'array' then coalesce(v_items -> (i.no - 1)::integer, _array_error.schema -> 'additionalItems') else v_items end as schema
          from jsonb_array_elements(_array_error.value) with ordinality as i (value, no)
    loop
        v_wrong := aos_skills._schema_error(_array_error.root, v_item.schema, v_item.value, format('%s[%s]', _array_error.place, v_item.no),
            _array_error.depth + 1);
        if v_wrong is not null then
            return v_wrong;
        end if;
    end loop;
    return null;
end
$$;
comment on function aos_skills._array_error(jsonb, jsonb, jsonb, text, integer) is 'What is wrong with an array by a JSON Schema.';

create function aos_skills._object_error(root jsonb, schema jsonb, value jsonb, place text, depth integer) returns text
    language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_what text := coalesce(nullif(_object_error.place, ''), 'they');
    v_properties jsonb := case jsonb_typeof(_object_error.schema -> 'properties') when 'object' then _object_error.schema -> 'properties' else '{}' end;
    v_patterns jsonb := case jsonb_typeof(_object_error.schema -> 'patternProperties') when 'object' then _object_error.schema -> 'patternProperties' else '{}' end;
    v_member record;
    v_count bigint;
    v_wrong text;
begin
    select string_agg(format('''%s''', r.name), ', ') into v_wrong
      from jsonb_array_elements_text(case jsonb_typeof(_object_error.schema -> 'required') when 'array' then _object_error.schema -> 'required' else '[]' end) as r (name)
     where not _object_error.value ? r.name;
    if v_wrong is not null then
        return format('%s must contain %s', v_what, v_wrong);
    end if;
    select count(*) into v_count from jsonb_object_keys(_object_error.value);
    if v_count < (_object_error.schema ->> 'minProperties')::numeric then
        return format('%s must contain at least %s properties', v_what, _object_error.schema -> 'minProperties');
    elsif v_count > (_object_error.schema ->> 'maxProperties')::numeric then
        return format('%s must contain at most %s properties', v_what, _object_error.schema -> 'maxProperties');
    end if;
    for v_member in
        select m.key, m.value, s.schema
          from jsonb_each(_object_error.value) as m
         cross join lateral (
               select v_properties -> m.key as schema where v_properties ? m.key
               union all
               select p.value from jsonb_each(v_patterns) as p where m.key ~ p.key
               union all
               select _object_error.schema -> 'additionalProperties'
                where not v_properties ? m.key and not exists (select from jsonb_object_keys(v_patterns) as p (name) where m.key ~ p.name)) as s
    loop
        if v_member.schema = 'false' then
            return format('%s must not contain ''%s''', v_what, v_member.key);
        end if;
        v_wrong := aos_skills._schema_error(_object_error.root, v_member.schema, v_member.value,
            concat(nullif(_object_error.place, '') || '.', v_member.key), _object_error.depth + 1);
        if v_wrong is not null then
            return v_wrong;
        end if;
    end loop;
    return null;
end
$$;
comment on function aos_skills._object_error(jsonb, jsonb, jsonb, text, integer) is 'What is wrong with an object by a JSON Schema.';
