-- Stand-ins for built-in functions whose one call can take long without looking at a cancel. The sandbox of sql_query
-- searches this schema before pg_catalog and refuses the originals. Each passes its arguments through a domain that
-- bounds their size, and uses every argument once, so that the planner always puts the original in its place.
--
-- A long value makes the domain look at a cancel first: however many calls one row makes, at most one of them, and the
-- short ones, run past the deadline.

-- The size of a value in memory, read from its header, whatever its type.
create function aos_sandbox._size(numeric) returns integer language internal immutable strict parallel safe as 'byteaoctetlen';
create function aos_sandbox._size(json) returns integer language internal immutable strict parallel safe as 'byteaoctetlen';
create function aos_sandbox._size(jsonb) returns integer language internal immutable strict parallel safe as 'byteaoctetlen';
create function aos_sandbox._size(anyarray) returns integer language internal immutable strict parallel safe as 'byteaoctetlen';
comment on function aos_sandbox._size(numeric) is 'Bytes of a value.';
comment on function aos_sandbox._size(json) is 'Bytes of a value.';
comment on function aos_sandbox._size(jsonb) is 'Bytes of a value.';
comment on function aos_sandbox._size(anyarray) is 'Bytes of a value.';

create function aos_sandbox._may_take(size bigint) returns boolean language plpgsql immutable strict parallel safe cost 1
as $$
begin
    -- Each statement of PL/pgSQL looks at a cancel first.
    return size operator(pg_catalog.<=) 1048576;
end
$$;
comment on function aos_sandbox._may_take(bigint) is 'True for a size of at most one megabyte; looks at a cancel first.';

create domain aos_sandbox.bounded_text as text
    constraint text_is_at_most_a_megabyte check (octet_length(value) <= 2048 or aos_sandbox._may_take(octet_length(value)));
create domain aos_sandbox.bounded_bytea as bytea
    constraint bytea_is_at_most_a_megabyte check (octet_length(value) <= 2048 or aos_sandbox._may_take(octet_length(value)));
create domain aos_sandbox.bounded_json as json
    constraint json_is_at_most_a_megabyte check (aos_sandbox._size(value) <= 2048 or aos_sandbox._may_take(aos_sandbox._size(value)));
create domain aos_sandbox.bounded_jsonb as jsonb
    constraint jsonb_is_at_most_a_megabyte check (aos_sandbox._size(value) <= 2048 or aos_sandbox._may_take(aos_sandbox._size(value)));
create domain aos_sandbox.short_text as text
    constraint text_is_at_most_128_bytes check (octet_length(value) <= 128);
create domain aos_sandbox.character_set as text
    constraint text_is_at_most_48_bytes check (octet_length(value) <= 48);
create domain aos_sandbox.bounded_numeric as numeric
    constraint numeric_has_at_most_2000_digits check (aos_sandbox._size(value) <= 1000);
create domain aos_sandbox.short_numeric as numeric
    constraint numeric_has_at_most_60_digits check (aos_sandbox._size(value) <= 40 and scale(value) <= 60);
create domain aos_sandbox.small_exponent as numeric
    constraint exponent_is_at_most_200 check (abs(value) <= 200 and aos_sandbox._size(value) <= 40 and scale(value) <= 60);
create domain aos_sandbox.bounded_length as integer
    constraint length_is_at_most_65536 check (value <= 65536);
comment on domain aos_sandbox.bounded_text is 'Text of at most a megabyte.';
comment on domain aos_sandbox.bounded_bytea is 'Bytes, at most a megabyte.';
comment on domain aos_sandbox.bounded_json is 'JSON of at most a megabyte.';
comment on domain aos_sandbox.bounded_jsonb is 'JSON of at most a megabyte.';
comment on domain aos_sandbox.short_text is 'Text of at most 128 bytes: a pattern, a separator, a format.';
comment on domain aos_sandbox.character_set is 'A set of characters of at most 48 bytes.';
comment on domain aos_sandbox.bounded_numeric is 'A number of at most 2000 digits.';
comment on domain aos_sandbox.short_numeric is 'A number of at most 60 digits.';
comment on domain aos_sandbox.small_exponent is 'An exponent of at most 200.';
comment on domain aos_sandbox.bounded_length is 'A length of at most 65536.';
