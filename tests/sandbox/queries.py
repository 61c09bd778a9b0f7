"""Everyday analytic queries, and what each must return on the data of :mod:`sandbox.shop`."""

from __future__ import annotations

from typing import Any

#: (query, None or the rows that it must return)
QUERIES: list[tuple[str, list[dict[str, Any]] | None]] = [
    ("select count(*) from orders", [{"count": 1000}]),
    ("select count(*) as n from shop.orders o where o.status = 'open'", [{"n": 333}]),
    (
        "select id, name from customers order by id limit 2",
        [{"id": 1, "name": "Customer 1"}, {"id": 2, "name": "Customer 2"}],
    ),
    ("select * from customers where id = 7", None),
    (
        "select c.name, sum(o.amount) as total from orders o join customers c on c.id = o.customer_id group by c.name order by total desc limit 3",
        None,
    ),
    (
        "select c.region, count(distinct o.customer_id) as buyers from orders o join customers c on c.id = o.customer_id group by c.region having count(*) > 240 order by c.region",
        [{"region": "east", "buyers": 13}, {"region": "south", "buyers": 13}],
    ),
    (
        "select c.name from customers c left join orders o on o.customer_id = c.id and o.status = 'lost' where o.id is null order by c.id limit 1",
        [{"name": "Customer 1"}],
    ),
    (
        "select status, count(*) filter (where amount > 5000) as large, count(*) as n from orders group by status order by status",
        None,
    ),
    (
        "select date_trunc('month', created_at) as month, sum(amount) from orders group by 1 order by 1 limit 3",
        None,
    ),
    (
        "select to_char(created_at, 'YYYY-MM') as month, count(*) as n from orders group by 1 order by 1 limit 1",
        [{"month": "2024-01", "n": 106}],
    ),
    (
        "select extract(year from created_at) as y, extract(dow from created_at) as d, count(*) from orders group by 1, 2 order by 1, 2",
        None,
    ),
    (
        "select date_part('month', created_at) m, avg(amount) from orders group by m order by m",
        None,
    ),
    ("select * from customers where name ilike '%er 1%' order by id", None),
    ("select count(*) as n from customers where email like 'c1%@example.com'", [{"n": 11}]),
    (
        "select count(*) as n from customers where name not ilike '%1%' and region in ('north', 'south')",
        None,
    ),
    (
        "select id, case when amount < 100 then 'small' when amount < 1000 then 'medium' else 'large' end as size from orders order by id limit 3",
        [{"id": 1, "size": "small"}, {"id": 2, "size": "small"}, {"id": 3, "size": "small"}],
    ),
    (
        "select case status when 'open' then 1 else 0 end as o, count(*) from orders group by 1 order by 1",
        [{"o": 0, "count": 667}, {"o": 1, "count": 333}],
    ),
    (
        "select coalesce(nullif(region, 'north'), 'N/A') as r, count(*) from customers group by 1 order by 1",
        None,
    ),
    (
        "select region, string_agg(name, ', ' order by id) as names from customers where id <= 8 group by region order by region limit 1",
        [{"region": "east", "names": "Customer 2, Customer 6"}],
    ),
    (
        "select array_agg(id order by id desc) as ids from customers where id < 4",
        [{"ids": [3, 2, 1]}],
    ),
    (
        "select row_number() over (order by amount desc) as rn, id from orders order by rn limit 2",
        [{"rn": 1, "id": 1000}, {"rn": 2, "id": 999}],
    ),
    (
        "select id, amount, lag(amount) over (order by id) as before, amount - lag(amount, 1, 0::numeric) over w as change from orders window w as (order by id) order by id limit 2",
        None,
    ),
    (
        "select region, name, rank() over (partition by region order by joined) as r, dense_rank() over (partition by region order by joined) as d from customers order by 1, 3 limit 4",
        None,
    ),
    (
        "select created_at::date as day, sum(amount) as s, sum(sum(amount)) over (order by created_at::date) as running from orders group by 1 order by 1 limit 5",
        None,
    ),
    (
        "select day, avg(s) over (order by day rows between 6 preceding and current row) as week from (select created_at::date as day, sum(amount) as s from orders group by 1) d order by day limit 3",
        None,
    ),
    (
        "select id, ntile(4) over (order by amount) as q, percent_rank() over (order by amount) as p, cume_dist() over (order by amount) from orders order by id limit 2",
        None,
    ),
    (
        "select first_value(id) over w, last_value(id) over w, nth_value(id, 2) over w from orders window w as (partition by status order by id range between unbounded preceding and unbounded following) limit 3",
        None,
    ),
    (
        "select sum(amount) over (order by created_at range between interval '7 days' preceding and current row) as s from orders order by created_at limit 1",
        None,
    ),
    (
        "with totals as (select customer_id, sum(amount) as total from orders group by customer_id) select c.name, t.total from totals t join customers c on c.id = t.customer_id where t.total > (select avg(total) from totals) order by t.total desc limit 5",
        None,
    ),
    (
        "with a as (select 1 as x), b (y) as (select x + 1 from a), c as materialized (select y from b) select x, y from a, c",
        [{"x": 1, "y": 2}],
    ),
    (
        "with recursive t (n) as (select 1 union all select n + 1 from t where n < 5) select sum(n) as s from t",
        [{"s": 15}],
    ),
    (
        "select percentile_cont(0.5) within group (order by amount) as median, percentile_disc(0.9) within group (order by amount) as p90 from orders",
        [{"median": 3753.75, "p90": 6750.00}],
    ),
    ("select mode() within group (order by status) as m from orders", [{"m": "paid"}]),
    (
        "select stddev(amount), var_samp(qty), corr(amount::float8, qty::float8), regr_slope(amount::float8, qty::float8) from orders",
        None,
    ),
    (
        "select distinct region from customers order by region",
        [{"region": "east"}, {"region": "north"}, {"region": "south"}, {"region": "west"}],
    ),
    ("select distinct on (region) region, name from customers order by region, joined desc", None),
    (
        "select d::date as day, count(o.id) as n from generate_series(date '2024-01-01', date '2024-01-07', interval '1 day') as d left join orders o on o.created_at::date = d::date group by d order by d",
        None,
    ),
    (
        "select g as n, g * g as square from generate_series(1, 5) as g where g % 2 = 1",
        [{"n": 1, "square": 1}, {"n": 3, "square": 9}, {"n": 5, "square": 25}],
    ),
    (
        "select profile ->> 'age' as age, (profile ->> 'age')::int + 1 as next, profile #>> '{langs,0}' as lang from customers where id = 1",
        [{"age": "21", "next": 22, "lang": "en"}],
    ),
    (
        "select profile -> 'langs' -> 0 as l, jsonb_array_length(profile -> 'langs') as n from customers where id = 1",
        [{"l": "en", "n": 2}],
    ),
    (
        "select count(*) as n from customers where profile @> '{\"age\": 30}' or profile ? 'missing'",
        [{"n": 1}],
    ),
    (
        "select lang, count(*) as n from customers, jsonb_array_elements_text(profile -> 'langs') as lang group by lang order by lang",
        [{"lang": "de", "n": 50}, {"lang": "en", "n": 50}],
    ),
    (
        "select key, value from customers, jsonb_each(profile) where id = 1 order by key",
        [{"key": "age", "value": 21}, {"key": "langs", "value": ["en", "de"]}],
    ),
    ("select attrs ->> 'c' as c from products where id = 3", [{"c": "3"}]),
    (
        "select unnest(tags) as tag, count(*) as n from customers group by 1 order by 1",
        [
            {"tag": "all", "n": 50},
            {"tag": "t0", "n": 16},
            {"tag": "t1", "n": 17},
            {"tag": "t2", "n": 17},
        ],
    ),
    (
        "select count(*) as n from customers where 'all' = any (tags) and tags @> array['t1'] and tags && '{t1,t2}'",
        [{"n": 17}],
    ),
    (
        "select c.name, last.amount from customers c cross join lateral (select o.amount from orders o where o.customer_id = c.id order by o.created_at desc limit 1) as last order by c.id limit 2",
        None,
    ),
    (
        "select name from customers c where exists (select 1 from orders o where o.customer_id = c.id and o.amount > 7490) order by id",
        None,
    ),
    (
        "select name from customers where id in (select customer_id from orders where amount > 7480) and id not in (1, 2) order by name",
        None,
    ),
    (
        "select region, status, count(*) from orders o join customers c on c.id = o.customer_id group by rollup (region, status) order by 1 nulls last, 2 nulls last limit 4",
        None,
    ),
    (
        "select region, grouping(region) as g, count(*) from customers group by grouping sets ((region), ()) order by 1 nulls last",
        None,
    ),
    (
        "select region from customers where id < 3 union select 'nowhere' union all select 'x' order by 1",
        None,
    ),
    ("(select id from customers order by id limit 1) except select 5", [{"id": 1}]),
    (
        "select id from customers where id < 10 intersect select id from products where id > 8 order by 1",
        [{"id": 9}],
    ),
    (
        "select age(timestamp '2024-03-01', timestamp '2024-01-15')::text as a, date '2024-03-01' - date '2024-02-01' as days, date '2024-01-31' + interval '1 month' as m",
        [{"a": "1 mon 17 days", "days": 29, "m": "2024-02-29T00:00:00"}],
    ),
    (
        "select count(*) from orders where created_at >= now() - interval '30 days' and created_at < current_date + 1",
        None,
    ),
    (
        "select created_at at time zone 'Europe/Berlin' as local, created_at at time zone 'UTC' from orders order by id limit 1",
        None,
    ),
    (
        "select count(*) as n from orders where created_at between '2024-01-01' and '2024-01-31' and status is not null and note is distinct from 'x'",
        [{"n": 102}],
    ),
    (
        "select round(avg(amount), 2) as a, min(amount), max(amount), ceil(2.1) as c, floor(-2.1), abs(-3), power(2, 10) as p, mod(7, 3), 7 % 4, sqrt(16) as r from orders",
        None,
    ),
    (
        "select upper(name), lower(name), initcap('hello world') as i, length(name), left(name, 3), right(name, 2), substr(name, 1, 4), replace(name, 'Customer', 'C'), reverse('abc') as r from customers order by id limit 1",
        None,
    ),
    (
        "select trim('  x ') as a, trim(both 'x' from 'xxaxx') as b, ltrim('xxa', 'x') as c, lpad('7', 3, '0') as d, position('b' in 'abc') as e, substring('abcdef' from 2 for 3) as f, substring('foobar' from 'o+b') as g, split_part('a,b,c', ',', 2) as h, concat('a', 1, null, true) as i, concat_ws('-', 'a', 'b') as j",
        [
            {
                "a": "x",
                "b": "a",
                "c": "a",
                "d": "007",
                "e": 2,
                "f": "bcd",
                "g": "oob",
                "h": "b",
                "i": "a1t",
                "j": "a-b",
            }
        ],
    ),
    (
        "select substring(email from position('@' in email) + 1) as domain, count(*) as n from customers group by 1",
        [{"domain": "example.com", "n": 50}],
    ),
    (
        "select 'a' || 'b' || 1 as s, name || ' (' || region || ')' as n from customers order by id limit 1",
        [{"s": "ab1", "n": "Customer 1 (south)"}],
    ),
    (
        "select count(*) as n from customers where name ~ '^Customer [1-3]$' or name !~* 'customer' or email similar to '%50@%'",
        [{"n": 4}],
    ),
    (
        "select regexp_replace(name, '[0-9]+', 'N') as n, (regexp_match(email, '(.+)@'))[1] as u from customers where id = 5",
        [{"n": "Customer N", "u": "c5"}],
    ),
    (
        "select sum(amount * qty * (1 - 0.1)) as revenue, sum(amount) / count(*) as mean, round(100.0 * count(*) filter (where status = 'paid') / count(*), 1) as share from orders",
        None,
    ),
    (
        "select greatest(1, 5, 3) as g, least(2, 1) as l, 5 between 1 and 10 as b, not true as n, (1, 2) = (1, 2) as t, null is null as x",
        [{"g": 5, "l": 1, "b": True, "n": False, "t": True, "x": True}],
    ),
    (
        "select cast('12' as integer) + 1 as a, '3.5'::numeric * 2 as b, 7::text as c, '2024-01-01'::date as d, cast(1.5 as double precision) as e, 'x'::varchar(10) as f, true::int as g",
        [{"a": 13, "b": 7.0, "c": "7", "d": "2024-01-01", "e": 1.5, "f": "x", "g": 1}],
    ),
    (
        "select json_agg(json_build_object('id', id, 'name', name) order by id) as list from customers where id < 3",
        [{"list": [{"id": 1, "name": "Customer 1"}, {"id": 2, "name": "Customer 2"}]}],
    ),
    (
        "select jsonb_object_agg(region, n) as by_region from (select region, count(*) as n from customers group by region) t",
        [{"by_region": {"east": 13, "west": 12, "north": 12, "south": 13}}],
    ),
    (
        "select to_jsonb(c) ->> 'name' as name, row_to_json(c) as whole from customers c where id = 1",
        None,
    ),
    (
        "select * from (values (1, 'one'), (2, 'two')) as v (n, word) order by n",
        [{"n": 1, "word": "one"}, {"n": 2, "word": "two"}],
    ),
    (
        "select bool_and(amount > 0) as a, bool_or(qty > 4) as o, count(*) filter (where note like 'note 1_') as n from orders",
        [{"a": True, "o": True, "n": 10}],
    ),
    (
        "select x.id, x.total, x.total / sum(x.total) over () as share from (select customer_id as id, sum(amount) as total from orders group by 1) x order by x.total desc limit 2",
        None,
    ),
    (
        "select width_bucket(amount, 0, 7500, 3) as bucket, count(*) from orders group by 1 order by 1",
        None,
    ),
    (
        "select to_date('2024-05-06', 'YYYY-MM-DD') as d, to_timestamp(0) at time zone 'UTC' as t, make_date(2024, 2, 29) as m, make_interval(days => 3)::text as i, justify_days(interval '35 days')::text as j",
        [
            {
                "d": "2024-05-06",
                "t": "1970-01-01T00:00:00",
                "m": "2024-02-29",
                "i": "3 days",
                "j": "1 mon 5 days",
            }
        ],
    ),
    (
        "select o.status, c.region, sum(o.amount) from orders as o inner join customers as c on (o.customer_id = c.id) where (o.status = 'paid' or o.qty > 3) and c.joined > '2023-01-10' group by o.status, c.region order by sum(o.amount) desc nulls last fetch first 3 rows only",
        None,
    ),
    (
        "select id from customers a join customers b using (id) where a.id <= 2 order by id offset 1",
        [{"id": 2}],
    ),
    (
        "select string_to_array('a,b', ',') as a, array_to_string(array['x','y'], '-') as b, cardinality(array[1,2,3]) as c, array_length(array[1,2], 1) as d, (array[10,20,30])[2] as e, array[1,2] || 3 as f, array_position(array['a','b'], 'b') as g",
        [{"a": ["a", "b"], "b": "x-y", "c": 3, "d": 2, "e": 20, "f": [1, 2, 3], "g": 2}],
    ),
    ("select /* a comment */ count(*) -- and another\nfrom orders;", [{"count": 1000}]),
    (
        'SELECT "name" AS "Customer\'s Name" FROM "shop"."customers" ORDER BY "id" LIMIT 1',
        [{"Customer's Name": "Customer 1"}],
    ),
    (
        "select interval '1 year 2 months' + interval '3 days' > interval '1 year' as x, timestamp '2024-01-01 10:00' - timestamp '2024-01-01 08:30' as d, time '10:00' < time '11:00' as t",
        [{"x": True, "d": "01:30:00", "t": True}],
    ),
    (
        "select count(*) as n from orders o where (o.customer_id, o.status) in (select c.id, 'paid' from customers c where c.region = 'north')",
        None,
    ),
    (
        "select corr(o.qty, o.id) is not null as c, sum(case when o.status = 'paid' then o.amount else 0 end) as paid from orders o",
        None,
    ),
    (
        "select extract(epoch from max(created_at) - min(created_at)) / 86400 as days, (max(created_at) - min(created_at)) * 2 as twice, min(created_at)::date as first from orders",
        None,
    ),
    (
        "select md5('a') as m, encode('abc'::bytea, 'hex') as h, chr(65) as c, ascii('A') as a, random() < 1 as r, gen_random_uuid() is not null as u, to_hex(255) as x",
        [
            {
                "m": "0cc175b9c0f1b6a831c399e269772661",
                "h": "616263",
                "c": "A",
                "a": 65,
                "r": True,
                "u": True,
                "x": "ff",
            }
        ],
    ),
    (
        "select daterange('2024-01-01', '2024-02-01') @> date '2024-01-15' as inside, ('2024-01-01'::date, '2024-01-10'::date) overlaps ('2024-01-05'::date, '2024-02-01'::date) as o",
        [{"inside": True, "o": True}],
    ),
    # types of all kinds, in the table shop.misc
    ("select * from misc limit 2", None),
    (
        "select code, lower(code), length(code), code like 'C1%', code ilike 'c%', code < 'C2', code || flag, upper(flag), flag = 'f1', flag like 'f%', trim(flag) from misc where code in ('C1','C2') and flag <> 'x'",
        None,
    ),
    ("select m, count(*) from misc where m = 'ok' group by m order by m", None),
    (
        "select m::text, max(m), min(code), max(flag), max(d), min(ts), max(t), avg(f), avg(r), sum(small), sum(num), avg(iv), sum(iv), max(ip) from misc group by 1",
        None,
    ),
    (
        "select encode(b,'hex'), octet_length(b), ip::text, host(ip), u is not null, ok::int, not ok, f::numeric(10,2), round(f::numeric,1), r*2, t + interval '1 hour', ts::date, d + 1, d - 7 from misc limit 1",
        None,
    ),
    (
        "select j->'a'->>0, j#>>'{a,1}', json_array_length(j->'a'), jb->'a'->'b', jb->>'l', (jb->'a'->>'b')::int + 1, jb ? 'a', jb @> '{\"a\":{\"b\":1}}', jb['a']['b'], jsonb_array_length(jb->'l'), jsonb_typeof(jb), jb || '{\"z\":1}', jb - 'a' from misc limit 1",
        None,
    ),
    ("select x.v::int from misc, jsonb_array_elements_text(jb->'l') as x(v) where id = 1", None),
    ("select elem, ord from misc, unnest(arr) with ordinality as u(elem, ord) where id < 3", None),
    ("select id, n from misc cross join lateral unnest(nums) n where id=1", None),
    (
        "select string_agg(distinct m::text, ', ' order by m::text), array_agg(distinct small order by small) from misc",
        None,
    ),
    (
        "select extract(month from age(now(), ts)), extract(isodow from d), date_part('hour', t), to_char(num, 'FM999G990D00'), to_char(d, 'Day DD Mon YYYY'), to_char(now(), 'IYYY-IW') is not null from misc limit 1",
        None,
    ),
    (
        "select count(*)::numeric / nullif(count(*) filter (where ok), 0), coalesce(sum(num) filter (where id > 1000), 0) from misc",
        None,
    ),
    (
        "select date_trunc('week', now())::date, current_date - interval '7 days', interval '1 day' * 3, now()::time is not null, localtimestamp is not null, current_time is not null",
        None,
    ),
    ("select percentile_cont(array[0.25, 0.5, 0.75]) within group (order by num) from misc", None),
    ("select count(distinct (m, ok)) from misc", None),
    (
        "select row_number() over (partition by m order by num desc nulls last, id) as rn, id from misc order by rn desc nulls first limit 3 offset 1",
        None,
    ),
    ("select json_agg(t) from (select id, code from misc order by id limit 2) t", None),
    (
        "select jsonb_build_object('n', count(*), 'first', min(code)), to_json(array_agg(id)) from misc",
        None,
    ),
    (
        "select to_timestamp(1700000000), extract(epoch from ts)::bigint > 0, make_timestamp(2024,1,2,3,4,5), date '2024-01-31' + make_interval(months => 1), justify_interval(interval '40 days') from misc limit 1",
        None,
    ),
    (
        "select a.id, b.id from misc a full outer join misc b on a.id = b.id + 29 where a.id is null or b.id is null order by 1, 2 limit 2",
        None,
    ),
    (
        "select * from (select id, lag(num) over w as p, lead(num, 1, 0) over w as n from misc window w as (order by id)) s where p is not null limit 1",
        None,
    ),
    (
        "select m, sum(num) as s, round(100 * sum(num) / sum(sum(num)) over (), 2) as pct from misc group by m order by s desc",
        None,
    ),
    (
        "with recursive tree as (select id, 1 as depth from misc where id = 1 union all select m.id, t.depth + 1 from misc m join tree t on m.id = t.id + 1 where t.depth < 5) select max(depth) from tree",
        None,
    ),
    (
        "select rng @> date '2024-01-05', lower(rng), upper(rng), isempty(rng), rng && daterange('2024-01-15', null), rng * daterange('2024-01-20','2025-01-01') from misc limit 1",
        None,
    ),
    ("select ok, count(*) from misc where ok is true or ok is not false group by ok", None),
    (
        "select case m when 'ok' then 1 when 'sad' then 2 end, nullif(code, 'C1'), greatest(small, 5), least(num, f::numeric) from misc limit 1",
        None,
    ),
    (
        "select 'x' = any(arr), arr[1], arr[1:1], array_length(nums,1), nums || 5, 3 = all(nums), arr && array['x'], array['x'] <@ arr, array_to_string(arr, ','), cardinality(arr) from misc limit 1",
        None,
    ),
    (
        "select id from misc where (id, small) in ((1,1),(2,2)) and (id, small) = (1, 1::smallint)",
        None,
    ),
    (
        "select id from misc where code ~ '^C[12]$' and code !~ 'x' and regexp_replace(code, '\\D', '', 'g')::int < 3",
        None,
    ),
    ("select (regexp_matches(code, 'C(\\d)', 'g'))[1] from misc limit 1", None),
    (
        "select split_part(code, 'C', 2)::int, lpad(small::text, 5, '0'), concat_ws('/', code, null, small), format('%s-%s', code, id), initcap('a b'), repeat('ab', 3), reverse(code), md5(code), left(code, -1), strpos(code, '1'), translate(code, 'C', 'D'), ascii(code), chr(65) from misc limit 1",
        None,
    ),
    ("select sum(n) from (values (1), (2), (null)) v(n) where n is not null", None),
    (
        "select id % 2 as odd, count(*) from misc group by id % 2 having count(*) > 1 order by odd",
        None,
    ),
    (
        "select num ^ 2, power(num, 2), sqrt(num), ln(num), exp(1), log(10, 100), mod(id, 3), id / 2, num / 3, -num, abs(-num), sign(num), trunc(num, 1), ceil(num), div(7, 2), pi(), 7 / 2.0, 2 ^ 3, f ^ 2 from misc limit 1",
        None,
    ),
    (
        "select d, sum(num) over (order by d range between '7 days' preceding and current row) from misc limit 1",
        None,
    ),
    (
        "select count(*) from misc tablesample_free where d between date '2020-01-01' and current_date",
        None,
    ),
    ("select distinct on (m) m, id, num from misc order by m, num desc", None),
    (
        "select id, rank() over (order by num), count(*) over () as total, avg(num) over (partition by m rows between 1 preceding and 1 following) from misc limit 2",
        None,
    ),
    (
        "select exists (select 1 from misc where id = 1) as e, (select max(id) from misc) as mx, array(select id from misc order by id limit 3) as a",
        None,
    ),
    ("select m, ok, grouping(m, ok), count(*) from misc group by cube (m, ok) order by 1, 2", None),
    (
        "select current_timestamp > ts, now() - ts < interval '1 day', age(d) is not null, ts at time zone 'UTC', timezone('UTC', ts), date_bin('15 minutes', ts, timestamp '2024-01-01') is not null from misc limit 1",
        None,
    ),
    ('select "id", misc."code" from shop.misc as misc where misc."id" = 1', None),
    (
        "select c.name, o.n from customers c join (select customer_id, count(*) n from orders group by 1) o on o.customer_id = c.id where lower(c.name) like '%er 1%' order by o.n desc, c.name limit 5",
        None,
    ),
    (
        "select trim(leading '0' from '007'), trim(trailing from 'x  '), ltrim('  x'), substring(code, 2), substring(code, 1, 2), substring(code for 1), position('C' in code) from misc limit 1",
        None,
    ),
    (
        "select true and false or not null is true, 1 <> 2, 1 != 2, 5 between symmetric 6 and 4, null is distinct from 1",
        None,
    ),
    (
        "select interval '1-2' year to month, interval '3' day, timestamp with time zone '2024-01-01 00:00+00', time '10:00', '2024-01-01'::timestamp::date, cast('1' as smallint), 1::real, '1'::int8, 'true'::bool, '{1,2}'::int[], '{\"a\":1}'::jsonb",
        None,
    ),
    (
        "select sum(case when created_at >= date_trunc('year', now()) then amount end) as ytd, count(*) filter (where created_at >= now() - interval '1 year') from orders",
        None,
    ),
    ("select generate_series('2024-01-01'::timestamp, '2024-01-03', '1 day')::date as d", None),
    (
        "select d::date, coalesce(x.n, 0) from generate_series('2024-01-01'::date, '2024-01-03'::date, '1 day') d left join (select created_at::date as day, count(*) n from orders group by 1) x on x.day = d::date order by 1",
        None,
    ),
    (
        "select corr(f, num), covar_pop(f, num), regr_r2(f, num), stddev_pop(f), variance(small), bit_or(small), every(ok) from misc",
        None,
    ),
    (
        "select o.status, array_agg(o.id order by o.amount desc) filter (where o.qty > 4) as ids from orders o group by o.status limit 1",
        None,
    ),
    (
        "select stddev(num), stddev(distinct small), var_pop(f order by id), variance(id), stddev_samp(r),"
        " stddev_pop(num) filter (where ok), variance(coalesce(num, 0)) from misc",
        None,
    ),
]
