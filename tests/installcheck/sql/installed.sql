-- For packagers: is what "make install" put there complete, and does the kernel start?
select extname from pg_extension where extname in ('plpython3u', 'vector', 'pgcrypto', 'pgagentos') order by extname;
select n.nspname as schema, count(*) > 0 as has_tables
from pg_depend d
join pg_extension e on e.oid = d.refobjid and d.refclassid = 'pg_extension'::regclass and e.extname = 'pgagentos'
join pg_namespace n on n.oid = d.objid and d.classid = 'pg_namespace'::regclass
join pg_class c on c.relnamespace = n.oid and c.relkind = 'r'
group by n.nspname order by n.nspname collate "C";
select bool_and(status = 'ok') as packages_are_there from aos_core.check_installation() where component = 'python' or component like 'package %';
