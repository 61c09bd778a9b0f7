-- A model's statement is analysed by the server with the rights of pgagentos_parser, which may do nothing but this: the
-- statement becomes the body of a function that is never kept (the caller rolls its subtransaction back), and the
-- analysed tree is read from the catalogue. What runs afterwards is that function, so it is the tree that was judged.
create function aos_sandbox._analyse(function_name text, statement text) returns text
    language plpgsql set search_path = aos_sandbox, pg_catalog, pg_temp
as $$
declare
    v_tree text;
begin
    execute pg_catalog.format('create function aos_sandbox.%I() returns setof text stable language sql begin atomic %s; end', function_name, statement);
    select p.prosqlbody::pg_catalog.text into strict v_tree
      from pg_catalog.pg_proc as p
     where p.pronamespace operator(pg_catalog.=) 'aos_sandbox'::pg_catalog.regnamespace and p.proname operator(pg_catalog.=) function_name;
    if pg_catalog.octet_length(v_tree) operator(pg_catalog.>) 1000000 then
        raise exception using errcode = 'program_limit_exceeded', message = 'the analysed query is too large';
    end if;
    return v_tree;
end
$$;
comment on function aos_sandbox._analyse(text, text) is
    'The server''s analysis of a statement, as PostgreSQL writes node trees; runs as pgagentos_parser in a subtransaction that is rolled back.';

-- Read-only from its first statement on: what runs below it cannot change that, and the end of the subtransaction that
-- the caller runs it in does. (As an option of the function PostgreSQL 16 and later refuse it.)
create function aos_sandbox._run(function_name text, max_cost double precision, max_rows integer, max_bytes integer,
        out outcome text, out cost double precision, out rows text)
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_row record;
    v_count integer := 0;
    v_bytes integer := 0;
begin
    set local transaction_read_only = on;
    outcome := 'complete';
    if max_cost is not null then
        for v_row in execute format('explain select j from aos_sandbox.%I() as j', function_name) loop
            cost := (regexp_match(v_row."QUERY PLAN", 'cost=[0-9.]+[.][.]([0-9.]+)'))[1]::double precision;
            exit;
        end loop;
        if cost > max_cost then
            outcome := 'expensive';
            return;
        end if;
    end if;
    rows := '';
    for v_row in execute format('select j from aos_sandbox.%I() as j', function_name) loop
        v_count := v_count + 1;
        v_bytes := v_bytes + octet_length(v_row.j) + 2;
        if v_count > max_rows or v_bytes > max_bytes then
            outcome := case when v_count = 1 then 'first row too long' else 'truncated' end;
            exit;
        end if;
        rows := rows || case when v_count > 1 then E',\n' else '' end || v_row.j;
    end loop;
end
$$;
comment on function aos_sandbox._run(text, double precision, integer, integer) is
    'Runs an analysed statement, read-only and with the rights of the caller, and collects its rows up to a number and a size. outcome: complete, truncated, expensive or first row too long.';

create function aos_sandbox._admit(db_role name) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('grant usage on schema aos_sandbox to %I', db_role);
    execute format('grant execute on all functions in schema aos_sandbox to %I', db_role);
    -- Those two run text that they are given.
    execute format('revoke execute on function aos_sandbox._analyse(text, text), aos_sandbox._admit(name) from %I', db_role);
end
$$;
comment on function aos_sandbox._admit(name) is 'Lets the queries of agents with this database role call the stand-ins of built-in functions.';

grant usage, create on schema aos_sandbox to pgagentos_parser;
grant usage on language sql to pgagentos_parser;
grant execute on function aos_sandbox._analyse(text, text) to pgagentos_parser;
