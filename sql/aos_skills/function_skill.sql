-- A SQL function as a skill: its JSON Schema comes from its signature, its description from its comment, and a call
-- of the model becomes a call of the function with named arguments.

create function aos_skills._function_arguments(function_oid oid,
        out argument_no integer, out name text, out type_oid oid, out is_required boolean, out is_context boolean)
    returns setof record
    language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select i.argument_no::integer, i.name, i.type_oid,
           i.argument_no <= count(*) over () - i.defaults,
           i.name in ('context_tenant_id', 'context_conversation_id', 'context_turn_id')
      from (select row_number() over (order by a.no) as argument_no, p.proargnames[a.no] as name, a.type_oid, p.pronargdefaults as defaults
              from pg_proc as p,
                   unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) with ordinality as a (type_oid, no)
             where p.oid = function_oid
               and (p.proargmodes is null or p.proargmodes[a.no] in ('i', 'b', 'v'))) as i
     order by i.argument_no;
end;
comment on function aos_skills._function_arguments(oid) is
    'The input arguments of a function. Arguments named context_tenant_id, context_conversation_id and context_turn_id are filled in by the kernel; models do not see them.';

create function aos_skills._type_schema(type_oid oid) returns jsonb
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_type pg_type;
begin
    select * into v_type from pg_type where oid = type_oid;
    if v_type.typtype = 'd' then
        return aos_skills._type_schema(v_type.typbasetype);
    elsif v_type.typcategory = 'A' then
        return jsonb_build_object('type', 'array', 'items', aos_skills._type_schema(v_type.typelem));
    elsif v_type.typtype = 'e' then
        return jsonb_build_object('type', 'string',
            'enum', (select jsonb_agg(e.enumlabel order by e.enumsortorder) from pg_enum as e where e.enumtypid = type_oid));
    elsif v_type.typtype = 'c' then
        return jsonb_build_object('type', 'object', 'properties',
            (select coalesce(jsonb_object_agg(a.attname, aos_skills._type_schema(a.atttypid)), '{}')
               from pg_attribute as a where a.attrelid = v_type.typrelid and a.attnum > 0 and not a.attisdropped),
            'additionalProperties', false);
    end if;
    return case
        when type_oid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) then '{"type": "integer"}'
        when v_type.typcategory = 'N' then '{"type": "number"}'
        when type_oid = 'bool'::regtype then '{"type": "boolean"}'
        when type_oid in ('json'::regtype, 'jsonb'::regtype) then '{}'
        when type_oid = 'date'::regtype then '{"type": "string", "format": "date"}'
        when type_oid = 'timestamptz'::regtype then '{"type": "string", "format": "date-time"}'
        when type_oid = 'uuid'::regtype then '{"type": "string", "format": "uuid"}'
        else '{"type": "string"}'
    end::jsonb;
end
$$;
comment on function aos_skills._type_schema(oid) is 'The JSON Schema of a PostgreSQL type.';

create function aos_skills._function_parameters(function_oid oid) returns jsonb
    language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select jsonb_build_object(
        'type', 'object',
        'properties', coalesce(jsonb_object_agg(a.name, aos_skills._type_schema(a.type_oid) || coalesce(
            -- a line "@param name: text" of the function's comment describes one argument
            (select jsonb_build_object('description', m[1])
               from regexp_match(obj_description(function_oid, 'pg_proc'), '@param\s+' || a.name || '\s*:\s*([^\n]+)') as m
              where m is not null), '{}')),
            '{}'),
        'required', coalesce(jsonb_agg(a.name order by a.argument_no) filter (where a.is_required), '[]'),
        'additionalProperties', false)
      from aos_skills._function_arguments(function_oid) as a
     where not a.is_context;
end;
comment on function aos_skills._function_parameters(oid) is 'The JSON Schema of a function''s arguments, from its signature and the @param lines of its comment.';

create function aos_skills.register_function(
        function regprocedure, name text default null, description text default null,
        approval text default 'auto', tenant_id uuid default null, risk text default 'low')
    returns uuid
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_proc pg_proc;
    v_name text;
    v_description text;
    v_unnamed bigint;
    v_skill_id uuid;
    v_pseudo text;
    v_caller name := case current_setting('role') when 'none' then session_user else current_setting('role') end;
    v_tenant_id uuid := coalesce(register_function.tenant_id, aos_auth.tenant_id());
begin
    perform aos_auth._require('developer');
    select * into v_proc from pg_proc where oid = register_function.function;
    if not found or v_proc.prokind <> 'f' then
        raise exception using errcode = 'OS001', message = format('%s is not a function', coalesce(register_function.function::text, 'NULL')),
            hint = 'Only functions can be skills; wrap a procedure or an aggregate in one.';
    elsif not has_function_privilege(v_caller, v_proc.oid, 'execute') then
        raise exception using errcode = 'insufficient_privilege',
            message = format('%I may not call %s itself', v_caller, register_function.function),
            hint = format('GRANT EXECUTE ON FUNCTION %s TO %I;', register_function.function, v_caller);
    end if;
    select count(*) into v_unnamed from aos_skills._function_arguments(v_proc.oid) as a where coalesce(a.name, '') = '';
    if v_unnamed > 0 then
        raise exception using errcode = 'OS001',
            message = format('%s has %s argument(s) without a name', register_function.function, v_unnamed),
            hint = 'Models pass arguments by name: give each argument a name.';
    end if;
    select string_agg(t.oid::regtype::text, ', ') into v_pseudo
      from pg_type as t
     where t.typtype = 'p'
       and (t.oid in (select a.type_oid from aos_skills._function_arguments(v_proc.oid) as a)
            or t.oid = v_proc.prorettype and t.oid not in ('void'::regtype, 'record'::regtype));
    if v_pseudo is not null then
        raise exception using errcode = 'OS001',
            message = format('%s cannot be called by a model: it takes or returns %s', register_function.function, v_pseudo),
            hint = 'Wrap it in a function with plain types.';
    end if;
    if v_proc.prolang in (select l.oid from pg_language as l where l.lanname in ('sql', 'plpgsql', 'plpython3u'))
        and v_proc.prosqlbody is null and not coalesce(v_proc.proconfig::text like '%search\_path=%', false)
    then
        raise warning using message = format('%s has no search_path of its own', register_function.function),
            detail = 'In a turn only pg_catalog is searched: the function finds its tables only where it names their schemas.',
            hint = format('ALTER FUNCTION %s SET search_path = public', register_function.function);
    end if;
    v_name := coalesce(register_function.name, v_proc.proname);
    v_description := coalesce(register_function.description,
        nullif(btrim(regexp_replace(obj_description(v_proc.oid, 'pg_proc'), '\n?\s*@param[^\n]*', '', 'g')), ''));
    if v_description is null then
        raise exception using errcode = 'OS001', message = format('%s has no description', register_function.function),
            hint = format('The model reads it to decide when to call: COMMENT ON FUNCTION %s IS ''...''; or pass description.',
                register_function.function);
    end if;
    update aos_skills.skill as s
       set description = v_description, parameters = aos_skills._function_parameters(v_proc.oid),
           implementation = 'sql_function', function_name = register_function.function::text,
           approval = register_function.approval, risk = register_function.risk, is_active = true
     where s.name = v_name and s.tenant_id is not distinct from v_tenant_id
    returning s.skill_id into v_skill_id;
    if v_skill_id is null then
        insert into aos_skills.skill (tenant_id, name, description, parameters, implementation, function_name, approval, risk)
        values (v_tenant_id, v_name, v_description, aos_skills._function_parameters(v_proc.oid),
            'sql_function', register_function.function::text, register_function.approval, register_function.risk)
        returning skill_id into v_skill_id;
    end if;
    return v_skill_id;
end
$$;
comment on function aos_skills.register_function(regprocedure, text, text, text, uuid, text) is
    'Makes a SQL function a skill (or renews one of that name): arguments from its signature, description from its comment, one line "@param name: text" per argument if wanted. tenant_id null: of the caller''s tenant, or, by an operator, every tenant''s. It runs with the rights of the agent''s database role. Returns skill_id.';

create function aos_skills._invocation(function_name text, function_oid oid, argument_names text[]) returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_proc pg_proc;
    v_call text;
    v_given text;
begin
    select p.* into v_proc from pg_proc as p where p.oid = _invocation.function_oid;
    if not found then
        raise exception using errcode = 'OS002', message = format('function %s does not exist any more', _invocation.function_name),
            hint = 'Create it again, or set is_active = false for its skill.';
    end if;
    select format('%I.%I(%s)', n.nspname, v_proc.proname, string_agg(
               case when v_proc.provariadic <> 0 and a.argument_no = v_proc.pronargs then 'variadic ' else '' end
               || format('%I => ', a.name) || case a.name
                   when 'context_conversation_id' then 'i.conversation_id'
                   when 'context_turn_id' then 'i.turn_id'
                   when 'context_tenant_id' then 'i.tenant_id'
                   else format('g.%I', a.name)
               end, ', ' order by a.argument_no) filter (where a.name is not null)),
           string_agg(format('%I %s', a.name, a.type_oid::regtype), ', ') filter (where not a.is_context)
      into v_call, v_given
      from pg_namespace as n
      left join aos_skills._function_arguments(v_proc.oid) as a on a.is_context or a.name = any (_invocation.argument_names)
     where n.oid = v_proc.pronamespace
     group by n.nspname;
    -- jsonb_to_record makes a value of any type of what the model gave: arrays of arrays, records in arrays, domains.
    -- All four parameters appear with their types, whether the function takes them or not.
    v_call := '(select $1::jsonb as given, $2::uuid as conversation_id, $3::uuid as turn_id, $4::uuid as tenant_id) as i, '
        || coalesce('lateral jsonb_to_record(i.given) as g (' || v_given || '), ', '') || format('lateral %s as r', v_call);
    if v_proc.proretset then
        -- The 101st row is fetched only to know that there are more than 100.
        v_call := format('select case when count(*) <= 100 then coalesce(json_agg(s.r), ''[]'') '
            'else json_build_object(''rows'', json_agg(s.r), ''note'', ''there are more rows; only the first 101 are shown'') end as result '
            'from (select r from %s limit 101) as s', v_call);
    else
        v_call := format('select to_json(r) as result from %s', v_call);
    end if;
    -- Asked by the role itself, at each call: it may have been made a superuser, who is a member of every role, or one
    -- who sees past row security, while the model was thinking.
    return format('select p.is_plain, case when p.is_plain then (%s) end as result '
        'from (select not pg_has_role(current_user, ''pgagentos_kernel'', ''member'') '
        'and row_security_active(''aos_auth.tenant''::regclass) as is_plain offset 0) as p', v_call);
end
$$;
comment on function aos_skills._invocation(text, oid, text[]) is
    'The SQL text that calls a function skill: $1 the arguments (jsonb), $2 conversation, $3 turn, $4 tenant (uuid); it returns one json.';

create function aos_skills._argument_error(parameters jsonb, arguments json) returns text
    language plpython3u volatile set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'skills.argument_error', parameters, arguments)
$$;
comment on function aos_skills._argument_error(jsonb, json) is
    'What is wrong with the arguments of a tool call, in words for the model; null when they fit the JSON Schema.';
