-- Prints what a database with the extension holds, one line an object, in an order and in words that
-- do not depend on the PostgreSQL version. scripts/snapshot keeps the answer in schema.txt.
\set QUIET on
\pset format unaligned
\pset tuples_only on
set search_path = pg_catalog, pg_temp;

create function pg_temp.grants(acl aclitem[], owner oid) returns text language sql as $$
    select coalesce(string_agg(line, ' ' order by line), '-')
    from (
        select case grantee when 0 then 'public' else grantee::regrole::text end
            || '=' || string_agg(privilege_type || case when is_grantable then '*' else '' end, ',' order by privilege_type) as line
        from aclexplode(acl)
        where grantee <> owner
        group by grantee
    ) each_grantee
$$;

create temporary view ours as
select oid, nspname, nspowner, nspacl from pg_namespace where nspname like 'aos\_%';

\echo '# schemas'
select format('%s grants %s', nspname, pg_temp.grants(nspacl, nspowner)) from ours order by nspname collate "C";

\echo '# tables and views'
select format('%s.%s %s%s%s%s grants %s', nspname, relname,
    case relkind when 'r' then 'table' when 'v' then 'view' when 'm' then 'materialized view'
        when 'p' then 'partitioned table' when 'S' then 'sequence' else relkind::text end,
    case when relrowsecurity then ' row-security' else '' end,
    case when relforcerowsecurity then ' forced' else '' end,
    coalesce(' with (' || array_to_string(reloptions, ', ') || ')', ''),
    pg_temp.grants(relacl, relowner))
from pg_class c join ours n on n.oid = relnamespace
where relkind in ('r', 'v', 'm', 'p', 'S')
order by nspname collate "C", relname collate "C";

\echo '# columns'
select format('%s.%s.%s %s%s%s', nspname, relname, attname, format_type(atttypid, atttypmod),
    case when attnotnull then ' not null' else '' end,
    case when attgenerated <> '' then ' generated ' || pg_get_expr(adbin, adrelid)
        else coalesce(' default ' || pg_get_expr(adbin, adrelid), '') end)
from pg_attribute a
join pg_class c on c.oid = attrelid
join ours n on n.oid = relnamespace
left join pg_attrdef d on d.adrelid = attrelid and d.adnum = attnum
where relkind in ('r', 'v', 'm', 'p') and attnum > 0 and not attisdropped
order by nspname collate "C", relname collate "C", attnum;

\echo '# constraints'
-- From version 18 on NOT NULL is a constraint too; it stands at its column above.
select format('%s.%s %s %s', nspname, coalesce(relname, typname), conname, pg_get_constraintdef(x.oid))
from pg_constraint x
join ours n on n.oid = connamespace
left join pg_class c on c.oid = conrelid
left join pg_type t on t.oid = contypid
where contype <> 'n'
order by nspname collate "C", coalesce(relname, typname) collate "C", conname collate "C";

\echo '# indexes'
select pg_get_indexdef(indexrelid)
from pg_index i
join pg_class c on c.oid = indexrelid
join ours n on n.oid = relnamespace
where not exists (select from pg_constraint where conindid = indexrelid and contype in ('p', 'u', 'x'))
order by nspname collate "C", relname collate "C";

\echo '# policies'
select format('%s.%s %s %s for %s to %s using (%s) with check (%s)', schemaname, tablename, policyname,
    lower(permissive), lower(cmd), array_to_string(roles, ', '), coalesce(qual, ''), coalesce(with_check, ''))
from pg_policies where schemaname in (select nspname from ours)
order by schemaname collate "C", tablename collate "C", policyname collate "C";

\echo '# triggers'
select pg_get_triggerdef(t.oid)
from pg_trigger t
join pg_class c on c.oid = tgrelid
join ours n on n.oid = relnamespace
where not tgisinternal
order by nspname collate "C", relname collate "C", tgname collate "C";

\echo '# functions'
select format('%s.%s(%s)%s %s %s%s%s parallel %s%s grants %s', nspname, proname,
    pg_get_function_arguments(p.oid), coalesce(' returns ' || pg_get_function_result(p.oid), ''), lanname,
    case provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
    case when proisstrict then ' strict' else '' end,
    case when prosecdef then ' security definer' else '' end,
    case proparallel when 's' then 'safe' when 'r' then 'restricted' else 'unsafe' end,
    coalesce(' set ' || array_to_string(proconfig, ' set '), ''),
    case when proacl is null then 'public=EXECUTE' else pg_temp.grants(proacl, proowner) end)
from pg_proc p
join ours n on n.oid = pronamespace
join pg_language l on l.oid = prolang
order by nspname collate "C", proname collate "C", pg_get_function_identity_arguments(p.oid) collate "C";

\echo '# rows that pg_dump keeps'
select format('%s %s', config.relation::oid::regclass, config.condition)
from pg_extension, unnest(extconfig, extcondition) as config (relation, condition)
where extname = 'pgagentos'
order by config.relation::oid::regclass::text collate "C";
