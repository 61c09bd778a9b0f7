create function aos_skills.describe_schema(table_name text default null) returns json
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_table regclass;
    v_result json;
begin
    if describe_schema.table_name is null then
        select json_agg(json_build_object('table', format('%I.%I', n.nspname, c.relname), 'comment', obj_description(c.oid, 'pg_class'))
                order by n.nspname, c.relname) into v_result
          from pg_class as c
          join pg_namespace as n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'v', 'm', 'f')
           and n.nspname not like 'pg\_%' and n.nspname <> 'information_schema' and n.nspname not like 'aos\_%'
           and not exists (select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
           and has_schema_privilege(n.oid, 'usage') and has_any_column_privilege(c.oid, 'select');
        return coalesce(v_result, '[]');
    end if;
    -- A bare name is looked for in all schemas that the caller may use, public first.
    select c.oid into v_table
      from pg_class as c
      join pg_namespace as n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname not like 'pg\_%' and n.nspname not like 'aos\_%'
       and n.nspname <> 'information_schema'
       and describe_schema.table_name in (c.relname, n.nspname || '.' || c.relname, format('%I.%I', n.nspname, c.relname))
       and has_schema_privilege(n.oid, 'usage') and has_any_column_privilege(c.oid, 'select')
     order by n.nspname <> 'public', n.nspname
     limit 1;
    if v_table is null then
        raise exception using errcode = 'OS002', message = format('there is no table %s', describe_schema.table_name),
            hint = 'Call describe_schema without table_name for the list of tables.';
    end if;
    select json_build_object(
        'table', v_table::text,
        'comment', obj_description(v_table, 'pg_class'),
        'columns', (select json_agg(json_strip_nulls(json_build_object(
                        'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
                        'comment', col_description(a.attrelid, a.attnum))) order by a.attnum)
                      from pg_attribute as a
                     where a.attrelid = v_table and a.attnum > 0 and not a.attisdropped and has_column_privilege(v_table, a.attnum, 'select')),
        'constraints', (select coalesce(json_agg(pg_get_constraintdef(k.oid) order by k.conname), '[]')
                          from pg_constraint as k where k.conrelid = v_table and k.contype <> 'n'  -- not null: a column says it itself
                           and (has_table_privilege(v_table, 'select')
                                or not exists (select from unnest(k.conkey) as c (attnum)
                                                where has_column_privilege(v_table, c.attnum, 'select') is not true))),
        'indexes', (select coalesce(json_agg(pg_get_indexdef(i.indexrelid) order by i.indexrelid::regclass::text), '[]')
                      from pg_index as i
                     where i.indrelid = v_table
                       and (has_table_privilege(v_table, 'select')
                            or i.indexprs is null and i.indpred is null
                               and not exists (select from unnest(i.indkey::smallint[]) as c (attnum)
                                                where has_column_privilege(v_table, c.attnum, 'select') is not true))))
      into v_result;
    return v_result;
end
$$;
comment on function aos_skills.describe_schema(text) is
    'Describes the database: without an argument the list of tables and views, with table_name one table''s columns, types, comments, constraints and indexes.
@param table_name: name of a table or view, for example orders or sales.orders';

create function aos_skills._register_builtin(skill_id uuid, function regprocedure) returns void
    language sql set search_path = pg_catalog, pg_temp
begin atomic
    insert into aos_skills.skill (skill_id, name, description, parameters, implementation, function_name, is_builtin)
    select _register_builtin.skill_id, p.proname,
           btrim(regexp_replace(obj_description(p.oid, 'pg_proc'), '\n?\s*@param[^\n]*', '', 'g')),
           aos_skills._function_parameters(p.oid), 'sql_function', _register_builtin.function::text, true
      from pg_proc as p where p.oid = _register_builtin.function;
    insert into aos_skills.role_skill (role_name, skill_id, is_builtin)
    values ('agent', _register_builtin.skill_id, true);
end;
comment on function aos_skills._register_builtin(uuid, regprocedure) is
    'Registers a function of this extension as a default skill, under an identity that is the same in every database.';

select aos_skills._register_builtin('b0a05000-0000-5000-8000-000000000001', 'aos_skills.describe_schema(text)');

insert into aos_skills.skill (skill_id, name, description, parameters, implementation, is_idempotent, is_builtin)
values ('b0a05000-0000-5000-8000-000000000004', 'web_search', 'Searches the web and returns the best results with title, address and summary.',
    '{"type": "object", "properties": {"query": {"type": "string", "description": "what to search for"}}, "required": ["query"], "additionalProperties": false}',
    'external', true, true);
insert into aos_skills.role_skill (role_name, skill_id, is_builtin)
values ('agent', 'b0a05000-0000-5000-8000-000000000004', true);
