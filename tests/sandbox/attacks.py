"""Attacks on a sandbox for SQL: what a model could write, and how the session stands when it does.

Of each: a name, the query, statements that the session ran before, and what must come of it: ``refused``,
or ``fine`` for controls and for what harms nobody.
"""

from __future__ import annotations

from typing import NamedTuple

REFUSED, FINE = "refused", "fine"


class Attack(NamedTuple):
    name: str
    query: str
    before: tuple[str, ...] = ()
    outcome: str = REFUSED


A = Attack
CURSOR = ("begin", "declare kcur cursor for select 'CALLER-CURSOR-SECRET' as leak")
SETTING = ("set aos.apikey = 'GUC-SECRET'",)

ATTACKS: list[Attack] = [
    # the shape of the statement
    A("two statements", "select 1; delete from shop.orders"),
    A("commit and drop", "COMMIT; DROP SCHEMA shop CASCADE;"),
    A("rollback", "ROLLBACK"),
    A("release", "RELEASE SAVEPOINT x"),
    A("do", "DO $$ begin perform 1; end $$"),
    A("create temp table", "create temp table orders(x int)"),
    A("create table as inside explain", "explain analyze create temp table zz as select 1"),
    A("select into", "select * into temp zz from shop.orders"),
    A("copy to program", "copy (select 1) to program 'id'"),
    A("copy from program", "copy shop.orders from program 'echo 9'"),
    A("copy to stdout", "copy shop.orders to stdout"),
    A("declare with hold", "declare c cursor with hold for select * from shop.orders"),
    A("listen", "listen x"),
    A("prepare", "prepare p as select 1"),
    A("call", "call shop.p_out(null)"),
    A("delete returning", "delete from shop.orders returning *"),
    A("data-modifying with", "with d as (delete from shop.orders returning *) select * from d"),
    A("for update", "select * from shop.orders for update"),
    A("fetch of the caller's cursor", "fetch all from kcur", CURSOR),
    A("cursor_to_xml", "select cursor_to_xml('kcur',10,false,false,'')::text", CURSOR),
    A("execute of the caller's statement", "execute pstmt", ("prepare pstmt as select 'prepared ran'",)),
    A("pg_prepared_statements", "select statement from pg_prepared_statements", ("prepare pstmt as select 'PREPARED-SECRET'",)),
    A("pg_cursors", "select statement from pg_cursors", CURSOR),
    A("show", "show aos.apikey", SETTING),
    A("current_setting", "select current_setting('aos.apikey',true)", SETTING),
    A("current_query", "select current_query()"),
    A("explain analyze", "explain analyze select * from shop.orders"),
    # identity
    A("set role", "set role postgres"),
    A("reset role", "reset role"),
    A("set_config role none", "select set_config('role','none',true)"),
    A("set_config role", "select set_config('role','postgres',false)"),
    A("set_config session_authorization", "select set_config('session_authorization','postgres',false)"),
    A("set session authorization", "set session authorization default"),
    A("set_config transaction_read_only", "select set_config('transaction_read_only','off',true)"),
    A("set_config row_security", "select set_config('row_security','off',true), (select string_agg(note,',') from shop.orders)"),
    A("set_config session_replication_role", "select set_config('session_replication_role','replica',true)"),
    A("set_config search_path", "select set_config('search_path','evil',false)"),
    A("set_config timeouts and sleep", "select set_config('statement_timeout','0',false), set_config('lock_timeout','0',false), pg_sleep(5)"),
    A("set_config work_mem", "select set_config('work_mem','2000000',false)"),
    A("set_config client_encoding", "select set_config('client_encoding','SQL_ASCII',false)"),
    A("forged tenant in a setting", "with s as materialized (select set_config('aos.tenant','2',false)) select d.* from s, shop.orders d", ("set aos.tenant = '1'",)),
    A("forged tenant, another table", "with s as materialized (select set_config('aos.tenant','2',false)) select d.* from s, shop.customers d", ("set aos.tenant = '1'",)),
    A("leaky division", "select * from shop.customers where (1/(id-2)) is not null"),
    A("secrets", "select * from aos_meta.secret"),
    A("pg_authid", "select rolname, rolpassword from pg_authid"),
    A("pg_roles", "select string_agg(rolname,',') from pg_roles"),
    A("pg_db_role_setting", "select setconfig::text from pg_db_role_setting"),
    A("query_to_xml", "select query_to_xml('select current_user',true,false,'')::text"),
    A("query_to_xml with delete", "select query_to_xml('delete from shop.orders returning *',true,false,'')::text"),
    A("ts_stat", "select * from ts_stat('select to_tsvector(note) from shop.orders')"),
    A("database_to_xml", "select length(database_to_xml(true,false,'')::text)"),
    # files, network, processes
    A("pg_read_file", "select pg_read_file('/etc/passwd')"),
    A("pg_ls_dir", "select pg_ls_dir('.')"),
    A("lo_import", "select lo_import('/etc/passwd')"),
    A("lo_from_bytea", "select lo_from_bytea(777777, 'x')"),
    A("dblink, loopback", "select * from dblink('host=localhost dbname=postgres user=postgres','select 1') as t(x int)"),
    A("dblink, elsewhere", "select * from dblink('host=127.0.0.1 port=9 dbname=x user=x password=x connect_timeout=1','select 1') as t(x int)"),
    A("public.dblink, loopback", "select * from public.dblink('host=localhost dbname=postgres user=postgres','select 1') as t(x int)"),
    A("public.dblink, elsewhere", "select * from public.dblink('host=127.0.0.1 port=9 dbname=x user=x password=x connect_timeout=1','select 1') as t(x int)"),
    A("pg_terminate_backend", "select pg_terminate_backend(pg_backend_pid())"),
    A("pg_cancel_backend", "select pg_cancel_backend(pid) from pg_stat_activity"),
    A("pg_reload_conf", "select pg_reload_conf()"),
    A("pg_stat_activity", "select count(*) from pg_stat_activity"),
    A("pg_advisory_lock", "select pg_advisory_lock(4242)"),
    A("pg_advisory_xact_lock", "select pg_advisory_xact_lock(4243)"),
    A("pg_notify", "select pg_notify('chan','payload')", ("listen chan",)),
    A("pg_logical_emit_message", "select pg_logical_emit_message(false,'x',repeat('y',1000))"),
    A("nextval", "select nextval('shop.seq')"),
    A("setval", "select setval('shop.seq',999)"),
    A("pg_export_snapshot", "select pg_export_snapshot()"),
    A("setseed", "select setseed(0.5)"),
    A("a definer function that writes", "select shop.f_write()"),
    A("insert into the caller's temporary table", "with i as (insert into pg_temp.ktmp values (666) returning *) select * from i", ("create temp table ktmp(x int)", "grant all on ktmp to public")),
    A("pg_temp function", "select pg_temp.evil()", ("create function pg_temp.evil() returns text language sql as $$select current_user::text$$",)),
    A("a temporary table shadows ours", "select count(*) as n from orders", ("create temp table orders(x text)", "insert into orders values ('SHADOW')", "grant all on orders to public"), FINE),
    A("the sandbox again", "select aos_agent.sql_query('a', 'select 1')"),
    A("the executor", "select aos_sandbox._run('x', 1, 1, 1)"),
    # resources
    A("pg_sleep", "select pg_sleep(30)"),
    A("generate_series", "select count(*) from generate_series(1,100000000000)"),
    A("endless recursion", "with recursive r as (select 1 union all select 1 from r) select count(*) from r"),
    A("backtracking", "select repeat('a',5000)||'!' ~ '^(a|a?)+$(\\1)'", (), FINE),
    A("back-references", "select repeat('a',3000) ~ '^(a*)*(a*)*(a*)*\\1\\2\\3b$'", (), FINE),
    A("like with many percent signs", "select repeat('ab',40000) like repeat('%ab',3000)||'c'"),
    A("numeric multiplication", "select length((repeat('9',130000)::numeric * repeat('9',130000)::numeric)::text) from generate_series(1,50)"),
    A("numeric power", "select length((1.000001::numeric ^ 9999999)::text)"),
    A("factorial", "select length(factorial(30000)::text)"),
    A("nested json", "select length(repeat('[',100000)::json::text)"),
    A("xmlparse", "select length((xmlparse(document '<a>'||repeat('<b/>',2000000)||'</a>'))::text)"),
    A("more rows than are shown", "select g from generate_series(1,100000) g", (), FINE),
    A("a long value", "select repeat('x',1000000)"),
    A("a value of a gigabyte", "select repeat('x',1000000000)"),
    A("array_agg", "select array_agg(repeat('x',1000)) from generate_series(1,100000000)"),
    A("string_agg", "select length(string_agg(repeat('x',65000),'')) from generate_series(1,100000)"),
    A("a sort on disk", "select count(*) from (select g, repeat('x',1000) from generate_series(1,100000000) g order by 2,1 offset 1) s"),
    A("a locked table", "select * from shop.locked"),
    A("a syntax error", "selec 1"),
    A("a long error", "select repeat('E',60000)::int"),
    A("division by zero", "select 1/0"),
    # the validator itself
    A("break-out, stacked", "select 1) as q; drop table shop.w; select 1 from (select 1"),
    A("break-out, union", "select 1) q union all select v from (select v from aos_meta.secret"),
    A("break-out, comment", "select 1) q --"),
    A("break-out, open comment", "select 1) q /*"),
    A("an open dollar quote", "select $x$ 1"),
    A("folding before the check", "select 1 where factorial(30000) > 0"),
    A("a setting in the error of a plan", "select 1 from shop.customers where id = current_setting('aos.apikey')::int", SETTING),
    A("a setting in the error of a cast", "select current_setting('aos.apikey')::int", SETTING),
    A("roles through regrole", "select g::regrole::text from (select (16384+x)::oid g from generate_series(0,3000) x) s"),
    A("tables through regclass", "select string_agg((x::oid)::regclass::text, ',') from generate_series(16384,18000) x"),
    A("format of a regrole", "select format('%s', 10::oid::regrole)"),
    A("a function by attribute", "select d.f_write from shop.customers d"),
    A("refcursor", "select 'x'::refcursor"),
    A("xmltable", "select * from xmltable('/a' passing '<a/>' columns x text path '.')"),
    A("json_populate_record", "select * from json_populate_record(null::aos_meta.secret, '{\"k\":\"a\"}')"),
    A("information_schema", "select table_name from information_schema.tables limit 3"),
    A("pg_temp table", "select * from pg_temp.kt", ("create temp table kt(x text)", "grant all on kt to public")),
    A("a semicolon at the end", "select 1 as ok; ", (), FINE),
    A("with, window and order", "with t as (select id, name, row_number() over (order by id desc) rn from customers) select * from t order by rn", (), FINE),
    A("the same column twice", "select d.id, d.id from shop.customers d", (), FINE),
]  # fmt: skip
