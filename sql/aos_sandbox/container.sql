-- Functions and operators on JSON and arrays.
create function aos_sandbox._json_member(json, text) returns json language sql immutable parallel safe
    return $1::aos_sandbox.bounded_json operator(pg_catalog.->) $2;
comment on function aos_sandbox._json_member(json, text) is 'Behind the operator ->.';
create operator aos_sandbox.-> (leftarg = json, rightarg = text, function = aos_sandbox._json_member);
comment on operator aos_sandbox.-> (json, text) is 'As pg_catalog.->, for values of a bounded size.';
create function aos_sandbox._json_element(json, integer) returns json language sql immutable parallel safe
    return $1::aos_sandbox.bounded_json operator(pg_catalog.->) $2;
comment on function aos_sandbox._json_element(json, integer) is 'Behind the operator ->.';
create operator aos_sandbox.-> (leftarg = json, rightarg = integer, function = aos_sandbox._json_element);
comment on operator aos_sandbox.-> (json, integer) is 'As pg_catalog.->, for values of a bounded size.';
create function aos_sandbox._json_member_text(json, text) returns text language sql immutable parallel safe
    return $1::aos_sandbox.bounded_json operator(pg_catalog.->>) $2;
comment on function aos_sandbox._json_member_text(json, text) is 'Behind the operator ->>.';
create operator aos_sandbox.->> (leftarg = json, rightarg = text, function = aos_sandbox._json_member_text);
comment on operator aos_sandbox.->> (json, text) is 'As pg_catalog.->>, for values of a bounded size.';
create function aos_sandbox._json_element_text(json, integer) returns text language sql immutable parallel safe
    return $1::aos_sandbox.bounded_json operator(pg_catalog.->>) $2;
comment on function aos_sandbox._json_element_text(json, integer) is 'Behind the operator ->>.';
create operator aos_sandbox.->> (leftarg = json, rightarg = integer, function = aos_sandbox._json_element_text);
comment on operator aos_sandbox.->> (json, integer) is 'As pg_catalog.->>, for values of a bounded size.';
create function aos_sandbox._json_path(json, text[]) returns json language sql immutable parallel safe
    return $1::aos_sandbox.bounded_json operator(pg_catalog.#>) $2;
comment on function aos_sandbox._json_path(json, text[]) is 'Behind the operator #>.';
create operator aos_sandbox.#> (leftarg = json, rightarg = text[], function = aos_sandbox._json_path);
comment on operator aos_sandbox.#> (json, text[]) is 'As pg_catalog.#>, for values of a bounded size.';
create function aos_sandbox._json_path_text(json, text[]) returns text language sql immutable parallel safe
    return $1::aos_sandbox.bounded_json operator(pg_catalog.#>>) $2;
comment on function aos_sandbox._json_path_text(json, text[]) is 'Behind the operator #>>.';
create operator aos_sandbox.#>> (leftarg = json, rightarg = text[], function = aos_sandbox._json_path_text);
comment on operator aos_sandbox.#>> (json, text[]) is 'As pg_catalog.#>>, for values of a bounded size.';

-- Containment compares every element with every other: the size of the smaller side is bounded more tightly.
create domain aos_sandbox.short_jsonb as jsonb
    constraint jsonb_is_at_most_2048_bytes check (aos_sandbox._size(value) <= 2048);
comment on domain aos_sandbox.short_jsonb is 'JSON of at most 2048 bytes.';
create function aos_sandbox._contains(jsonb, jsonb) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_jsonb operator(pg_catalog.@>) $2::aos_sandbox.short_jsonb;
comment on function aos_sandbox._contains(jsonb, jsonb) is 'Behind the operator @>.';
create operator aos_sandbox.@> (leftarg = jsonb, rightarg = jsonb, function = aos_sandbox._contains);
comment on operator aos_sandbox.@> (jsonb, jsonb) is 'As pg_catalog.@>, for values of a bounded size.';
create function aos_sandbox._is_contained_in(jsonb, jsonb) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.short_jsonb operator(pg_catalog.<@) $2::aos_sandbox.bounded_jsonb;
comment on function aos_sandbox._is_contained_in(jsonb, jsonb) is 'Behind the operator <@.';
create operator aos_sandbox.<@ (leftarg = jsonb, rightarg = jsonb, function = aos_sandbox._is_contained_in);
comment on operator aos_sandbox.<@ (jsonb, jsonb) is 'As pg_catalog.<@, for values of a bounded size.';
create function aos_sandbox._equal(jsonb, jsonb) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_jsonb operator(pg_catalog.=) $2::aos_sandbox.bounded_jsonb;
comment on function aos_sandbox._equal(jsonb, jsonb) is 'Behind the operator =.';
create operator aos_sandbox.= (leftarg = jsonb, rightarg = jsonb, function = aos_sandbox._equal);
comment on operator aos_sandbox.= (jsonb, jsonb) is 'As pg_catalog.=, for values of a bounded size.';
create function aos_sandbox._not_equal(jsonb, jsonb) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_jsonb operator(pg_catalog.<>) $2::aos_sandbox.bounded_jsonb;
comment on function aos_sandbox._not_equal(jsonb, jsonb) is 'Behind the operator <>.';
create operator aos_sandbox.<> (leftarg = jsonb, rightarg = jsonb, function = aos_sandbox._not_equal);
comment on operator aos_sandbox.<> (jsonb, jsonb) is 'As pg_catalog.<>, for values of a bounded size.';
create function aos_sandbox.json_array_length(json) returns integer language sql immutable parallel safe
    return pg_catalog.json_array_length($1::aos_sandbox.bounded_json);
comment on function aos_sandbox.json_array_length(json) is 'As pg_catalog.json_array_length, for values of a bounded size.';
create function aos_sandbox.json_array_elements(from_json json, out value json) returns setof json language sql immutable parallel safe
begin atomic
    select r from pg_catalog.json_array_elements(from_json::aos_sandbox.bounded_json) as r;
end;
comment on function aos_sandbox.json_array_elements(json) is 'As pg_catalog.json_array_elements, for values of a bounded size.';
create function aos_sandbox.json_array_elements_text(from_json json, out value text) returns setof text language sql immutable parallel safe
begin atomic
    select r from pg_catalog.json_array_elements_text(from_json::aos_sandbox.bounded_json) as r;
end;
comment on function aos_sandbox.json_array_elements_text(json) is 'As pg_catalog.json_array_elements_text, for values of a bounded size.';
create function aos_sandbox.json_each(from_json json, out key text, out value json) returns setof record language sql immutable parallel safe
begin atomic
    select r.key, r.value from pg_catalog.json_each(from_json::aos_sandbox.bounded_json) as r;
end;
comment on function aos_sandbox.json_each(json) is 'As pg_catalog.json_each, for values of a bounded size.';
create function aos_sandbox.json_each_text(from_json json, out key text, out value text) returns setof record language sql immutable parallel safe
begin atomic
    select r.key, r.value from pg_catalog.json_each_text(from_json::aos_sandbox.bounded_json) as r;
end;
comment on function aos_sandbox.json_each_text(json) is 'As pg_catalog.json_each_text, for values of a bounded size.';
create function aos_sandbox.json_object_keys(from_json json) returns setof text language sql immutable parallel safe
begin atomic
    select r from pg_catalog.json_object_keys(from_json::aos_sandbox.bounded_json) as r;
end;
comment on function aos_sandbox.json_object_keys(json) is 'As pg_catalog.json_object_keys, for values of a bounded size.';
create function aos_sandbox.jsonb_array_length(jsonb) returns integer language sql immutable parallel safe
    return pg_catalog.jsonb_array_length($1::aos_sandbox.bounded_jsonb);
comment on function aos_sandbox.jsonb_array_length(jsonb) is 'As pg_catalog.jsonb_array_length, for values of a bounded size.';
create function aos_sandbox.jsonb_array_elements(from_json jsonb, out value jsonb) returns setof jsonb language sql immutable parallel safe
begin atomic
    select r from pg_catalog.jsonb_array_elements(from_json::aos_sandbox.bounded_jsonb) as r;
end;
comment on function aos_sandbox.jsonb_array_elements(jsonb) is 'As pg_catalog.jsonb_array_elements, for values of a bounded size.';
create function aos_sandbox.jsonb_array_elements_text(from_json jsonb, out value text) returns setof text language sql immutable parallel safe
begin atomic
    select r from pg_catalog.jsonb_array_elements_text(from_json::aos_sandbox.bounded_jsonb) as r;
end;
comment on function aos_sandbox.jsonb_array_elements_text(jsonb) is 'As pg_catalog.jsonb_array_elements_text, for values of a bounded size.';
create function aos_sandbox.jsonb_each(from_json jsonb, out key text, out value jsonb) returns setof record language sql immutable parallel safe
begin atomic
    select r.key, r.value from pg_catalog.jsonb_each(from_json::aos_sandbox.bounded_jsonb) as r;
end;
comment on function aos_sandbox.jsonb_each(jsonb) is 'As pg_catalog.jsonb_each, for values of a bounded size.';
create function aos_sandbox.jsonb_each_text(from_json jsonb, out key text, out value text) returns setof record language sql immutable parallel safe
begin atomic
    select r.key, r.value from pg_catalog.jsonb_each_text(from_json::aos_sandbox.bounded_jsonb) as r;
end;
comment on function aos_sandbox.jsonb_each_text(jsonb) is 'As pg_catalog.jsonb_each_text, for values of a bounded size.';
create function aos_sandbox.jsonb_object_keys(from_json jsonb) returns setof text language sql immutable parallel safe
begin atomic
    select r from pg_catalog.jsonb_object_keys(from_json::aos_sandbox.bounded_jsonb) as r;
end;
comment on function aos_sandbox.jsonb_object_keys(jsonb) is 'As pg_catalog.jsonb_object_keys, for values of a bounded size.';

-- A function of any array has a body of text, and no domain can bound any array: its arguments appear more than once.
create function aos_sandbox._fits(work bigint) returns boolean language plpgsql immutable strict parallel safe cost 1
as $$
begin
    if work operator(pg_catalog.>) 8388608 then
        raise exception using errcode = 'program_limit_exceeded', message = 'the arrays are too long for this operator';
    end if;
    return true;
end
$$;
comment on function aos_sandbox._fits(bigint) is 'True for work of at most 8 million steps, an error for more; looks at a cancel first.';
create function aos_sandbox._contains(anyarray, anyarray) returns boolean language sql immutable parallel safe
    as 'select case when coalesce(aos_sandbox._fits((pg_catalog.int8(aos_sandbox._size($1)) operator(pg_catalog.+) 64) operator(pg_catalog.*) (aos_sandbox._size($2) operator(pg_catalog.+) 64) operator(pg_catalog./) 64), true) then $1 operator(pg_catalog.@>) $2 end';
comment on function aos_sandbox._contains(anyarray, anyarray) is 'Behind the operator @>.';
create operator aos_sandbox.@> (leftarg = anyarray, rightarg = anyarray, function = aos_sandbox._contains);
comment on operator aos_sandbox.@> (anyarray, anyarray) is 'As pg_catalog.@>, for arrays of a bounded size.';
create function aos_sandbox._is_contained_in(anyarray, anyarray) returns boolean language sql immutable parallel safe
    as 'select case when coalesce(aos_sandbox._fits((pg_catalog.int8(aos_sandbox._size($1)) operator(pg_catalog.+) 64) operator(pg_catalog.*) (aos_sandbox._size($2) operator(pg_catalog.+) 64) operator(pg_catalog./) 64), true) then $1 operator(pg_catalog.<@) $2 end';
comment on function aos_sandbox._is_contained_in(anyarray, anyarray) is 'Behind the operator <@.';
create operator aos_sandbox.<@ (leftarg = anyarray, rightarg = anyarray, function = aos_sandbox._is_contained_in);
comment on operator aos_sandbox.<@ (anyarray, anyarray) is 'As pg_catalog.<@, for arrays of a bounded size.';
create function aos_sandbox._overlaps(anyarray, anyarray) returns boolean language sql immutable parallel safe
    as 'select case when coalesce(aos_sandbox._fits((pg_catalog.int8(aos_sandbox._size($1)) operator(pg_catalog.+) 64) operator(pg_catalog.*) (aos_sandbox._size($2) operator(pg_catalog.+) 64) operator(pg_catalog./) 64), true) then $1 operator(pg_catalog.&&) $2 end';
comment on function aos_sandbox._overlaps(anyarray, anyarray) is 'Behind the operator &&.';
create operator aos_sandbox.&& (leftarg = anyarray, rightarg = anyarray, function = aos_sandbox._overlaps);
comment on operator aos_sandbox.&& (anyarray, anyarray) is 'As pg_catalog.&&, for arrays of a bounded size.';
create function aos_sandbox._equal(anyarray, anyarray) returns boolean language sql immutable parallel safe
    as 'select case when coalesce(aos_sandbox._fits(16 operator(pg_catalog.*) (pg_catalog.int8(aos_sandbox._size($1)) operator(pg_catalog.+) aos_sandbox._size($2))), true) then $1 operator(pg_catalog.=) $2 end';
comment on function aos_sandbox._equal(anyarray, anyarray) is 'Behind the operator =.';
create operator aos_sandbox.= (leftarg = anyarray, rightarg = anyarray, function = aos_sandbox._equal);
comment on operator aos_sandbox.= (anyarray, anyarray) is 'As pg_catalog.=, for arrays of a bounded size.';
create function aos_sandbox._not_equal(anyarray, anyarray) returns boolean language sql immutable parallel safe
    as 'select case when coalesce(aos_sandbox._fits(16 operator(pg_catalog.*) (pg_catalog.int8(aos_sandbox._size($1)) operator(pg_catalog.+) aos_sandbox._size($2))), true) then $1 operator(pg_catalog.<>) $2 end';
comment on function aos_sandbox._not_equal(anyarray, anyarray) is 'Behind the operator <>.';
create operator aos_sandbox.<> (leftarg = anyarray, rightarg = anyarray, function = aos_sandbox._not_equal);
comment on operator aos_sandbox.<> (anyarray, anyarray) is 'As pg_catalog.<>, for arrays of a bounded size.';
create function aos_sandbox._less(anyarray, anyarray) returns boolean language sql immutable parallel safe
    as 'select case when coalesce(aos_sandbox._fits(16 operator(pg_catalog.*) (pg_catalog.int8(aos_sandbox._size($1)) operator(pg_catalog.+) aos_sandbox._size($2))), true) then $1 operator(pg_catalog.<) $2 end';
comment on function aos_sandbox._less(anyarray, anyarray) is 'Behind the operator <.';
create operator aos_sandbox.< (leftarg = anyarray, rightarg = anyarray, function = aos_sandbox._less);
comment on operator aos_sandbox.< (anyarray, anyarray) is 'As pg_catalog.<, for arrays of a bounded size.';
create function aos_sandbox._less_or_equal(anyarray, anyarray) returns boolean language sql immutable parallel safe
    as 'select case when coalesce(aos_sandbox._fits(16 operator(pg_catalog.*) (pg_catalog.int8(aos_sandbox._size($1)) operator(pg_catalog.+) aos_sandbox._size($2))), true) then $1 operator(pg_catalog.<=) $2 end';
comment on function aos_sandbox._less_or_equal(anyarray, anyarray) is 'Behind the operator <=.';
create operator aos_sandbox.<= (leftarg = anyarray, rightarg = anyarray, function = aos_sandbox._less_or_equal);
comment on operator aos_sandbox.<= (anyarray, anyarray) is 'As pg_catalog.<=, for arrays of a bounded size.';
create function aos_sandbox._greater(anyarray, anyarray) returns boolean language sql immutable parallel safe
    as 'select case when coalesce(aos_sandbox._fits(16 operator(pg_catalog.*) (pg_catalog.int8(aos_sandbox._size($1)) operator(pg_catalog.+) aos_sandbox._size($2))), true) then $1 operator(pg_catalog.>) $2 end';
comment on function aos_sandbox._greater(anyarray, anyarray) is 'Behind the operator >.';
create operator aos_sandbox.> (leftarg = anyarray, rightarg = anyarray, function = aos_sandbox._greater);
comment on operator aos_sandbox.> (anyarray, anyarray) is 'As pg_catalog.>, for arrays of a bounded size.';
create function aos_sandbox._greater_or_equal(anyarray, anyarray) returns boolean language sql immutable parallel safe
    as 'select case when coalesce(aos_sandbox._fits(16 operator(pg_catalog.*) (pg_catalog.int8(aos_sandbox._size($1)) operator(pg_catalog.+) aos_sandbox._size($2))), true) then $1 operator(pg_catalog.>=) $2 end';
comment on function aos_sandbox._greater_or_equal(anyarray, anyarray) is 'Behind the operator >=.';
create operator aos_sandbox.>= (leftarg = anyarray, rightarg = anyarray, function = aos_sandbox._greater_or_equal);
comment on operator aos_sandbox.>= (anyarray, anyarray) is 'As pg_catalog.>=, for arrays of a bounded size.';
create function aos_sandbox.array_position(anycompatiblearray, anycompatible) returns integer language sql immutable parallel safe
    as 'select case when coalesce(aos_sandbox._fits(8 operator(pg_catalog.*) pg_catalog.int8(aos_sandbox._size($1))), true) then pg_catalog.array_position($1, $2) end';
comment on function aos_sandbox.array_position(anycompatiblearray, anycompatible) is 'As pg_catalog.array_position, for arrays of a bounded size.';
create function aos_sandbox.array_to_string(anyarray, text) returns text language sql stable parallel safe
    as 'select case when coalesce(aos_sandbox._fits(8 operator(pg_catalog.*) pg_catalog.int8(aos_sandbox._size($1))), true) then pg_catalog.array_to_string($1, $2) end';
comment on function aos_sandbox.array_to_string(anyarray, text) is 'As pg_catalog.array_to_string, for arrays of a bounded size.';
create function aos_sandbox.array_to_string(anyarray, text, text) returns text language sql stable parallel safe
    as 'select case when coalesce(aos_sandbox._fits(8 operator(pg_catalog.*) pg_catalog.int8(aos_sandbox._size($1))), true) then pg_catalog.array_to_string($1, $2, $3) end';
comment on function aos_sandbox.array_to_string(anyarray, text, text) is 'As pg_catalog.array_to_string, for arrays of a bounded size.';
