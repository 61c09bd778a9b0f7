-- Functions and operators on numbers: a numeric can have 147,000 digits, and the work grows with their square.
create function aos_sandbox._times(numeric, numeric) returns numeric language sql immutable parallel safe
    return $1::aos_sandbox.bounded_numeric operator(pg_catalog.*) $2::aos_sandbox.bounded_numeric;
comment on function aos_sandbox._times(numeric, numeric) is 'Behind the operator *.';
create operator aos_sandbox.* (leftarg = numeric, rightarg = numeric, function = aos_sandbox._times);
comment on operator aos_sandbox.* (numeric, numeric) is 'As pg_catalog.*, for values of a bounded size.';
create function aos_sandbox._divided(numeric, numeric) returns numeric language sql immutable parallel safe
    return $1::aos_sandbox.bounded_numeric operator(pg_catalog./) $2::aos_sandbox.bounded_numeric;
comment on function aos_sandbox._divided(numeric, numeric) is 'Behind the operator /.';
create operator aos_sandbox./ (leftarg = numeric, rightarg = numeric, function = aos_sandbox._divided);
comment on operator aos_sandbox./ (numeric, numeric) is 'As pg_catalog./, for values of a bounded size.';
create function aos_sandbox._modulo(numeric, numeric) returns numeric language sql immutable parallel safe
    return $1::aos_sandbox.bounded_numeric operator(pg_catalog.%) $2::aos_sandbox.bounded_numeric;
comment on function aos_sandbox._modulo(numeric, numeric) is 'Behind the operator %.';
create operator aos_sandbox.% (leftarg = numeric, rightarg = numeric, function = aos_sandbox._modulo);
comment on operator aos_sandbox.% (numeric, numeric) is 'As pg_catalog.%, for values of a bounded size.';
create function aos_sandbox.mod(numeric, numeric) returns numeric language sql immutable parallel safe
    return pg_catalog.mod($1::aos_sandbox.bounded_numeric, $2::aos_sandbox.bounded_numeric);
comment on function aos_sandbox.mod(numeric, numeric) is 'As pg_catalog.mod, for values of a bounded size.';
create function aos_sandbox.div(numeric, numeric) returns numeric language sql immutable parallel safe
    return pg_catalog.div($1::aos_sandbox.bounded_numeric, $2::aos_sandbox.bounded_numeric);
comment on function aos_sandbox.div(numeric, numeric) is 'As pg_catalog.div, for values of a bounded size.';
create function aos_sandbox.sqrt(numeric) returns numeric language sql immutable parallel safe
    return pg_catalog.sqrt($1::aos_sandbox.short_numeric);
comment on function aos_sandbox.sqrt(numeric) is 'As pg_catalog.sqrt, for values of a bounded size.';
create function aos_sandbox.ln(numeric) returns numeric language sql immutable parallel safe
    return pg_catalog.ln($1::aos_sandbox.short_numeric);
comment on function aos_sandbox.ln(numeric) is 'As pg_catalog.ln, for values of a bounded size.';
create function aos_sandbox.log(numeric) returns numeric language sql immutable parallel safe
    return pg_catalog.log($1::aos_sandbox.short_numeric);
comment on function aos_sandbox.log(numeric) is 'As pg_catalog.log, for values of a bounded size.';
create function aos_sandbox.log10(numeric) returns numeric language sql immutable parallel safe
    return pg_catalog.log10($1::aos_sandbox.short_numeric);
comment on function aos_sandbox.log10(numeric) is 'As pg_catalog.log10, for values of a bounded size.';
create function aos_sandbox.exp(numeric) returns numeric language sql immutable parallel safe
    return pg_catalog.exp($1::aos_sandbox.small_exponent);
comment on function aos_sandbox.exp(numeric) is 'As pg_catalog.exp, for values of a bounded size.';
create function aos_sandbox.log(numeric, numeric) returns numeric language sql immutable parallel safe
    return pg_catalog.log($1::aos_sandbox.short_numeric, $2::aos_sandbox.short_numeric);
comment on function aos_sandbox.log(numeric, numeric) is 'As pg_catalog.log, for values of a bounded size.';
create function aos_sandbox.power(numeric, numeric) returns numeric language sql immutable parallel safe
    return pg_catalog.power($1::aos_sandbox.short_numeric, $2::aos_sandbox.small_exponent);
comment on function aos_sandbox.power(numeric, numeric) is 'As pg_catalog.power, for values of a bounded size.';
create function aos_sandbox.pow(numeric, numeric) returns numeric language sql immutable parallel safe
    return pg_catalog.pow($1::aos_sandbox.short_numeric, $2::aos_sandbox.small_exponent);
comment on function aos_sandbox.pow(numeric, numeric) is 'As pg_catalog.pow, for values of a bounded size.';
create function aos_sandbox._to_the_power(numeric, numeric) returns numeric language sql immutable parallel safe
    return $1::aos_sandbox.short_numeric operator(pg_catalog.^) $2::aos_sandbox.small_exponent;
comment on function aos_sandbox._to_the_power(numeric, numeric) is 'Behind the operator ^.';
create operator aos_sandbox.^ (leftarg = numeric, rightarg = numeric, function = aos_sandbox._to_the_power);
comment on operator aos_sandbox.^ (numeric, numeric) is 'As pg_catalog.^, for values of a bounded size.';
create function aos_sandbox.width_bucket(numeric, numeric, numeric, integer) returns integer language sql immutable parallel safe
    return pg_catalog.width_bucket($1::aos_sandbox.short_numeric, $2::aos_sandbox.short_numeric, $3::aos_sandbox.short_numeric, $4);
comment on function aos_sandbox.width_bucket(numeric, numeric, numeric, integer) is 'As pg_catalog.width_bucket, for values of a bounded size.';

-- What goes into a variance or deviation: each value is multiplied with itself.
create function aos_sandbox._bounded(numeric) returns numeric language sql immutable parallel safe
    return $1::aos_sandbox.bounded_numeric;
comment on function aos_sandbox._bounded(numeric) is 'A number, refused when it is too long to be squared.';
create function aos_sandbox._bounded(smallint) returns smallint language sql immutable parallel safe return $1;
comment on function aos_sandbox._bounded(smallint) is 'A number as it is.';
create function aos_sandbox._bounded(integer) returns integer language sql immutable parallel safe return $1;
comment on function aos_sandbox._bounded(integer) is 'A number as it is.';
create function aos_sandbox._bounded(bigint) returns bigint language sql immutable parallel safe return $1;
comment on function aos_sandbox._bounded(bigint) is 'A number as it is.';
create function aos_sandbox._bounded(real) returns real language sql immutable parallel safe return $1;
comment on function aos_sandbox._bounded(real) is 'A number as it is.';
create function aos_sandbox._bounded(double precision) returns double precision language sql immutable parallel safe return $1;
comment on function aos_sandbox._bounded(double precision) is 'A number as it is.';

-- Series of at most a million steps.
create function aos_sandbox._steps(steps numeric) returns boolean language plpgsql immutable strict parallel safe
as $$
begin
    if steps operator(pg_catalog.>) 1000000 then
        raise exception using errcode = 'program_limit_exceeded', message = 'the series has more than a million steps';
    end if;
    return true;
end
$$;
comment on function aos_sandbox._steps(numeric) is 'True for a series of at most a million steps, an error for a longer one.';
create function aos_sandbox.generate_series(integer, integer) returns setof integer language sql immutable parallel safe
begin atomic
    select r from pg_catalog.generate_series($1, case when coalesce(aos_sandbox._steps(abs($2::numeric - $1)), true) then $2 end) as r;
end;
comment on function aos_sandbox.generate_series(integer, integer) is 'As pg_catalog.generate_series, of at most a million steps.';
create function aos_sandbox.generate_series(bigint, bigint) returns setof bigint language sql immutable parallel safe
begin atomic
    select r from pg_catalog.generate_series($1, case when coalesce(aos_sandbox._steps(abs($2::numeric - $1)), true) then $2 end) as r;
end;
comment on function aos_sandbox.generate_series(bigint, bigint) is 'As pg_catalog.generate_series, of at most a million steps.';
create function aos_sandbox.generate_series(numeric, numeric) returns setof numeric language sql immutable parallel safe
begin atomic
    select r from pg_catalog.generate_series($1, case when coalesce(aos_sandbox._steps(abs($2::aos_sandbox.short_numeric - $1::aos_sandbox.short_numeric)), true) then $2 end) as r;
end;
comment on function aos_sandbox.generate_series(numeric, numeric) is 'As pg_catalog.generate_series, of at most a million steps.';
create function aos_sandbox.generate_series(integer, integer, integer) returns setof integer language sql immutable parallel safe
begin atomic
    select r from pg_catalog.generate_series($1, case when coalesce(aos_sandbox._steps(abs(($2::numeric - $1) / nullif($3::numeric, 0))), true) then $2 end, $3) as r;
end;
comment on function aos_sandbox.generate_series(integer, integer, integer) is 'As pg_catalog.generate_series, of at most a million steps.';
create function aos_sandbox.generate_series(bigint, bigint, bigint) returns setof bigint language sql immutable parallel safe
begin atomic
    select r from pg_catalog.generate_series($1, case when coalesce(aos_sandbox._steps(abs(($2::numeric - $1) / nullif($3::numeric, 0))), true) then $2 end, $3) as r;
end;
comment on function aos_sandbox.generate_series(bigint, bigint, bigint) is 'As pg_catalog.generate_series, of at most a million steps.';
create function aos_sandbox.generate_series(numeric, numeric, numeric) returns setof numeric language sql immutable parallel safe
begin atomic
    select r from pg_catalog.generate_series($1, case when coalesce(aos_sandbox._steps(abs(($2::aos_sandbox.short_numeric - $1::aos_sandbox.short_numeric) / nullif($3::aos_sandbox.short_numeric, 0))), true) then $2 end, $3) as r;
end;
comment on function aos_sandbox.generate_series(numeric, numeric, numeric) is 'As pg_catalog.generate_series, of at most a million steps.';
create function aos_sandbox.generate_series(timestamp, timestamp, interval) returns setof timestamp language sql immutable parallel safe
begin atomic
    select r from pg_catalog.generate_series($1, case when coalesce(aos_sandbox._steps(case when isfinite($1) and isfinite($2) then abs((extract(epoch from $2 - $1)) / nullif(extract(epoch from $3), 0)) end), true) then $2 end, $3) as r;
end;
comment on function aos_sandbox.generate_series(timestamp, timestamp, interval) is 'As pg_catalog.generate_series, of at most a million steps.';
create function aos_sandbox.generate_series(timestamptz, timestamptz, interval) returns setof timestamptz language sql stable parallel safe
begin atomic
    select r from pg_catalog.generate_series($1, case when coalesce(aos_sandbox._steps(case when isfinite($1) and isfinite($2) then abs((extract(epoch from $2 - $1)) / nullif(extract(epoch from $3), 0)) end), true) then $2 end, $3) as r;
end;
comment on function aos_sandbox.generate_series(timestamptz, timestamptz, interval) is 'As pg_catalog.generate_series, of at most a million steps.';
