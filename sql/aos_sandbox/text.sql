-- Functions and operators on text and bytes.
create function aos_sandbox.replace(text, text, text) returns text language sql immutable parallel safe
    return pg_catalog.replace($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text, $3::aos_sandbox.short_text);
comment on function aos_sandbox.replace(text, text, text) is 'As pg_catalog.replace, for values of a bounded size.';
create function aos_sandbox.translate(text, text, text) returns text language sql immutable parallel safe
    return pg_catalog.translate($1::aos_sandbox.bounded_text, $2::aos_sandbox.character_set, $3::aos_sandbox.character_set);
comment on function aos_sandbox.translate(text, text, text) is 'As pg_catalog.translate, for values of a bounded size.';
create function aos_sandbox.strpos(text, text) returns integer language sql immutable parallel safe
    return pg_catalog.strpos($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text);
comment on function aos_sandbox.strpos(text, text) is 'As pg_catalog.strpos, for values of a bounded size.';
create function aos_sandbox."position"(text, text) returns integer language sql immutable parallel safe
    return pg_catalog."position"($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text);
comment on function aos_sandbox."position"(text, text) is 'As pg_catalog.position, for values of a bounded size.';
create function aos_sandbox.split_part(text, text, integer) returns text language sql immutable parallel safe
    return pg_catalog.split_part($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text, $3);
comment on function aos_sandbox.split_part(text, text, integer) is 'As pg_catalog.split_part, for values of a bounded size.';
create function aos_sandbox.string_to_array(text, text) returns text[] language sql immutable parallel safe
    return pg_catalog.string_to_array($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text);
comment on function aos_sandbox.string_to_array(text, text) is 'As pg_catalog.string_to_array, for values of a bounded size.';
create function aos_sandbox.string_to_array(text, text, text) returns text[] language sql immutable parallel safe
    return pg_catalog.string_to_array($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text, $3::aos_sandbox.short_text);
comment on function aos_sandbox.string_to_array(text, text, text) is 'As pg_catalog.string_to_array, for values of a bounded size.';
create function aos_sandbox.btrim(text) returns text language sql immutable parallel safe
    return pg_catalog.btrim($1::aos_sandbox.bounded_text);
comment on function aos_sandbox.btrim(text) is 'As pg_catalog.btrim, for values of a bounded size.';
create function aos_sandbox.btrim(text, text) returns text language sql immutable parallel safe
    return pg_catalog.btrim($1::aos_sandbox.bounded_text, $2::aos_sandbox.character_set);
comment on function aos_sandbox.btrim(text, text) is 'As pg_catalog.btrim, for values of a bounded size.';
create function aos_sandbox.ltrim(text) returns text language sql immutable parallel safe
    return pg_catalog.ltrim($1::aos_sandbox.bounded_text);
comment on function aos_sandbox.ltrim(text) is 'As pg_catalog.ltrim, for values of a bounded size.';
create function aos_sandbox.ltrim(text, text) returns text language sql immutable parallel safe
    return pg_catalog.ltrim($1::aos_sandbox.bounded_text, $2::aos_sandbox.character_set);
comment on function aos_sandbox.ltrim(text, text) is 'As pg_catalog.ltrim, for values of a bounded size.';
create function aos_sandbox.rtrim(text) returns text language sql immutable parallel safe
    return pg_catalog.rtrim($1::aos_sandbox.bounded_text);
comment on function aos_sandbox.rtrim(text) is 'As pg_catalog.rtrim, for values of a bounded size.';
create function aos_sandbox.rtrim(text, text) returns text language sql immutable parallel safe
    return pg_catalog.rtrim($1::aos_sandbox.bounded_text, $2::aos_sandbox.character_set);
comment on function aos_sandbox.rtrim(text, text) is 'As pg_catalog.rtrim, for values of a bounded size.';
create function aos_sandbox.lpad(text, integer) returns text language sql immutable parallel safe
    return pg_catalog.lpad($1::aos_sandbox.bounded_text, $2::aos_sandbox.bounded_length);
comment on function aos_sandbox.lpad(text, integer) is 'As pg_catalog.lpad, for values of a bounded size.';
create function aos_sandbox.lpad(text, integer, text) returns text language sql immutable parallel safe
    return pg_catalog.lpad($1::aos_sandbox.bounded_text, $2::aos_sandbox.bounded_length, $3::aos_sandbox.short_text);
comment on function aos_sandbox.lpad(text, integer, text) is 'As pg_catalog.lpad, for values of a bounded size.';
create function aos_sandbox.rpad(text, integer) returns text language sql immutable parallel safe
    return pg_catalog.rpad($1::aos_sandbox.bounded_text, $2::aos_sandbox.bounded_length);
comment on function aos_sandbox.rpad(text, integer) is 'As pg_catalog.rpad, for values of a bounded size.';
create function aos_sandbox.rpad(text, integer, text) returns text language sql immutable parallel safe
    return pg_catalog.rpad($1::aos_sandbox.bounded_text, $2::aos_sandbox.bounded_length, $3::aos_sandbox.short_text);
comment on function aos_sandbox.rpad(text, integer, text) is 'As pg_catalog.rpad, for values of a bounded size.';
create function aos_sandbox.repeat(text, integer) returns text language sql immutable parallel safe
    return pg_catalog.repeat($1::aos_sandbox.bounded_text, $2::aos_sandbox.bounded_length);
comment on function aos_sandbox.repeat(text, integer) is 'As pg_catalog.repeat, for values of a bounded size.';
create function aos_sandbox.upper(text) returns text language sql immutable parallel safe
    return pg_catalog.upper($1::aos_sandbox.bounded_text);
comment on function aos_sandbox.upper(text) is 'As pg_catalog.upper, for values of a bounded size.';
create function aos_sandbox.lower(text) returns text language sql immutable parallel safe
    return pg_catalog.lower($1::aos_sandbox.bounded_text);
comment on function aos_sandbox.lower(text) is 'As pg_catalog.lower, for values of a bounded size.';
create function aos_sandbox.initcap(text) returns text language sql immutable parallel safe
    return pg_catalog.initcap($1::aos_sandbox.bounded_text);
comment on function aos_sandbox.initcap(text) is 'As pg_catalog.initcap, for values of a bounded size.';
create function aos_sandbox.reverse(text) returns text language sql immutable parallel safe
    return pg_catalog.reverse($1::aos_sandbox.bounded_text);
comment on function aos_sandbox.reverse(text) is 'As pg_catalog.reverse, for values of a bounded size.';
create function aos_sandbox.md5(text) returns text language sql immutable parallel safe
    return pg_catalog.md5($1::aos_sandbox.bounded_text);
comment on function aos_sandbox.md5(text) is 'As pg_catalog.md5, for values of a bounded size.';
create function aos_sandbox.length(text) returns integer language sql immutable parallel safe
    return pg_catalog.length($1::aos_sandbox.bounded_text);
comment on function aos_sandbox.length(text) is 'As pg_catalog.length, for values of a bounded size.';
create function aos_sandbox.char_length(text) returns integer language sql immutable parallel safe
    return pg_catalog.char_length($1::aos_sandbox.bounded_text);
comment on function aos_sandbox.char_length(text) is 'As pg_catalog.char_length, for values of a bounded size.';
create function aos_sandbox.character_length(text) returns integer language sql immutable parallel safe
    return pg_catalog.character_length($1::aos_sandbox.bounded_text);
comment on function aos_sandbox.character_length(text) is 'As pg_catalog.character_length, for values of a bounded size.';
create function aos_sandbox.left(text, integer) returns text language sql immutable parallel safe
    return pg_catalog.left($1::aos_sandbox.bounded_text, $2);
comment on function aos_sandbox.left(text, integer) is 'As pg_catalog.left, for values of a bounded size.';
create function aos_sandbox.right(text, integer) returns text language sql immutable parallel safe
    return pg_catalog.right($1::aos_sandbox.bounded_text, $2);
comment on function aos_sandbox.right(text, integer) is 'As pg_catalog.right, for values of a bounded size.';
create function aos_sandbox.substr(text, integer) returns text language sql immutable parallel safe
    return pg_catalog.substr($1::aos_sandbox.bounded_text, $2);
comment on function aos_sandbox.substr(text, integer) is 'As pg_catalog.substr, for values of a bounded size.';
create function aos_sandbox.substr(text, integer, integer) returns text language sql immutable parallel safe
    return pg_catalog.substr($1::aos_sandbox.bounded_text, $2, $3);
comment on function aos_sandbox.substr(text, integer, integer) is 'As pg_catalog.substr, for values of a bounded size.';
create function aos_sandbox.substring(text, integer) returns text language sql immutable parallel safe
    return pg_catalog.substring($1::aos_sandbox.bounded_text, $2);
comment on function aos_sandbox.substring(text, integer) is 'As pg_catalog.substring, for values of a bounded size.';
create function aos_sandbox.substring(text, integer, integer) returns text language sql immutable parallel safe
    return pg_catalog.substring($1::aos_sandbox.bounded_text, $2, $3);
comment on function aos_sandbox.substring(text, integer, integer) is 'As pg_catalog.substring, for values of a bounded size.';
create function aos_sandbox.md5(bytea) returns text language sql immutable parallel safe
    return pg_catalog.md5($1::aos_sandbox.bounded_bytea);
comment on function aos_sandbox.md5(bytea) is 'As pg_catalog.md5, for values of a bounded size.';
create function aos_sandbox.sha256(bytea) returns bytea language sql immutable parallel safe
    return pg_catalog.sha256($1::aos_sandbox.bounded_bytea);
comment on function aos_sandbox.sha256(bytea) is 'As pg_catalog.sha256, for values of a bounded size.';
create function aos_sandbox.encode(bytea, text) returns text language sql immutable parallel safe
    return pg_catalog.encode($1::aos_sandbox.bounded_bytea, $2::aos_sandbox.short_text);
comment on function aos_sandbox.encode(bytea, text) is 'As pg_catalog.encode, for values of a bounded size.';
create function aos_sandbox.decode(text, text) returns bytea language sql immutable parallel safe
    return pg_catalog.decode($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text);
comment on function aos_sandbox.decode(text, text) is 'As pg_catalog.decode, for values of a bounded size.';
create function aos_sandbox.length(bytea) returns integer language sql immutable parallel safe
    return pg_catalog.length($1::aos_sandbox.bounded_bytea);
comment on function aos_sandbox.length(bytea) is 'As pg_catalog.length, for values of a bounded size.';
create function aos_sandbox.to_char(timestamp, text) returns text language sql stable parallel safe
    return pg_catalog.to_char($1, $2::aos_sandbox.short_text);
comment on function aos_sandbox.to_char(timestamp, text) is 'As pg_catalog.to_char, for values of a bounded size.';
create function aos_sandbox.to_char(timestamptz, text) returns text language sql stable parallel safe
    return pg_catalog.to_char($1, $2::aos_sandbox.short_text);
comment on function aos_sandbox.to_char(timestamptz, text) is 'As pg_catalog.to_char, for values of a bounded size.';
create function aos_sandbox.to_char(interval, text) returns text language sql stable parallel safe
    return pg_catalog.to_char($1, $2::aos_sandbox.short_text);
comment on function aos_sandbox.to_char(interval, text) is 'As pg_catalog.to_char, for values of a bounded size.';
create function aos_sandbox.to_char(integer, text) returns text language sql stable parallel safe
    return pg_catalog.to_char($1, $2::aos_sandbox.short_text);
comment on function aos_sandbox.to_char(integer, text) is 'As pg_catalog.to_char, for values of a bounded size.';
create function aos_sandbox.to_char(bigint, text) returns text language sql stable parallel safe
    return pg_catalog.to_char($1, $2::aos_sandbox.short_text);
comment on function aos_sandbox.to_char(bigint, text) is 'As pg_catalog.to_char, for values of a bounded size.';
create function aos_sandbox.to_char(double precision, text) returns text language sql stable parallel safe
    return pg_catalog.to_char($1, $2::aos_sandbox.short_text);
comment on function aos_sandbox.to_char(double precision, text) is 'As pg_catalog.to_char, for values of a bounded size.';
create function aos_sandbox.to_char(numeric, text) returns text language sql stable parallel safe
    return pg_catalog.to_char($1::aos_sandbox.bounded_numeric, $2::aos_sandbox.short_text);
comment on function aos_sandbox.to_char(numeric, text) is 'As pg_catalog.to_char, for values of a bounded size.';
create function aos_sandbox.to_date(text, text) returns date language sql stable parallel safe
    return pg_catalog.to_date($1::aos_sandbox.short_text, $2::aos_sandbox.short_text);
comment on function aos_sandbox.to_date(text, text) is 'As pg_catalog.to_date, for values of a bounded size.';
create function aos_sandbox.to_timestamp(text, text) returns timestamptz language sql stable parallel safe
    return pg_catalog.to_timestamp($1::aos_sandbox.short_text, $2::aos_sandbox.short_text);
comment on function aos_sandbox.to_timestamp(text, text) is 'As pg_catalog.to_timestamp, for values of a bounded size.';
create function aos_sandbox.to_number(text, text) returns numeric language sql stable parallel safe
    return pg_catalog.to_number($1::aos_sandbox.short_text, $2::aos_sandbox.short_text);
comment on function aos_sandbox.to_number(text, text) is 'As pg_catalog.to_number, for values of a bounded size.';

-- Regular expressions look at a cancel now and then, but not at every character of a long value. The sandbox demands
-- besides that their patterns are constants.
create function aos_sandbox.regexp_replace(text, text, text) returns text language sql immutable parallel safe
    return pg_catalog.regexp_replace($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text, $3::aos_sandbox.short_text);
comment on function aos_sandbox.regexp_replace(text, text, text) is 'As pg_catalog.regexp_replace, for values of a bounded size.';
create function aos_sandbox.regexp_replace(text, text, text, text) returns text language sql immutable parallel safe
    return pg_catalog.regexp_replace($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text, $3::aos_sandbox.short_text, $4::aos_sandbox.short_text);
comment on function aos_sandbox.regexp_replace(text, text, text, text) is 'As pg_catalog.regexp_replace, for values of a bounded size.';
create function aos_sandbox.regexp_match(text, text) returns text[] language sql immutable parallel safe
    return pg_catalog.regexp_match($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text);
comment on function aos_sandbox.regexp_match(text, text) is 'As pg_catalog.regexp_match, for values of a bounded size.';
create function aos_sandbox.regexp_match(text, text, text) returns text[] language sql immutable parallel safe
    return pg_catalog.regexp_match($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text, $3::aos_sandbox.short_text);
comment on function aos_sandbox.regexp_match(text, text, text) is 'As pg_catalog.regexp_match, for values of a bounded size.';
create function aos_sandbox.regexp_split_to_array(text, text) returns text[] language sql immutable parallel safe
    return pg_catalog.regexp_split_to_array($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text);
comment on function aos_sandbox.regexp_split_to_array(text, text) is 'As pg_catalog.regexp_split_to_array, for values of a bounded size.';
create function aos_sandbox.regexp_split_to_array(text, text, text) returns text[] language sql immutable parallel safe
    return pg_catalog.regexp_split_to_array($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text, $3::aos_sandbox.short_text);
comment on function aos_sandbox.regexp_split_to_array(text, text, text) is 'As pg_catalog.regexp_split_to_array, for values of a bounded size.';
create function aos_sandbox.substring(text, text) returns text language sql immutable parallel safe
    return pg_catalog.substring($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text);
comment on function aos_sandbox.substring(text, text) is 'As pg_catalog.substring, for values of a bounded size.';
create function aos_sandbox.regexp_matches(text, text) returns setof text[] language sql immutable parallel safe
begin atomic
    select r from pg_catalog.regexp_matches($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text) as r;
end;
comment on function aos_sandbox.regexp_matches(text, text) is 'As pg_catalog.regexp_matches, for values of a bounded size.';
create function aos_sandbox.regexp_matches(text, text, text) returns setof text[] language sql immutable parallel safe
begin atomic
    select r from pg_catalog.regexp_matches($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text, $3::aos_sandbox.short_text) as r;
end;
comment on function aos_sandbox.regexp_matches(text, text, text) is 'As pg_catalog.regexp_matches, for values of a bounded size.';
create function aos_sandbox.regexp_split_to_table(text, text) returns setof text language sql immutable parallel safe
begin atomic
    select r from pg_catalog.regexp_split_to_table($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text) as r;
end;
comment on function aos_sandbox.regexp_split_to_table(text, text) is 'As pg_catalog.regexp_split_to_table, for values of a bounded size.';
create function aos_sandbox.regexp_split_to_table(text, text, text) returns setof text language sql immutable parallel safe
begin atomic
    select r from pg_catalog.regexp_split_to_table($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text, $3::aos_sandbox.short_text) as r;
end;
comment on function aos_sandbox.regexp_split_to_table(text, text, text) is 'As pg_catalog.regexp_split_to_table, for values of a bounded size.';
create function aos_sandbox.string_to_table(text, text) returns setof text language sql immutable parallel safe
begin atomic
    select r from pg_catalog.string_to_table($1::aos_sandbox.bounded_text, $2::aos_sandbox.short_text) as r;
end;
comment on function aos_sandbox.string_to_table(text, text) is 'As pg_catalog.string_to_table, for values of a bounded size.';
create function aos_sandbox._like(text, text) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_text operator(pg_catalog.~~) $2::aos_sandbox.short_text;
comment on function aos_sandbox._like(text, text) is 'Behind the operator ~~.';
create operator aos_sandbox.~~ (leftarg = text, rightarg = text, function = aos_sandbox._like);
comment on operator aos_sandbox.~~ (text, text) is 'As pg_catalog.~~, for values of a bounded size.';
create function aos_sandbox._like(character, text) returns boolean language sql immutable parallel safe
    return $1 operator(pg_catalog.~~) $2::aos_sandbox.short_text;
comment on function aos_sandbox._like(character, text) is 'Behind the operator ~~.';
create operator aos_sandbox.~~ (leftarg = character, rightarg = text, function = aos_sandbox._like);
comment on operator aos_sandbox.~~ (character, text) is 'As pg_catalog.~~, for patterns of a bounded size.';
create function aos_sandbox._not_like(text, text) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_text operator(pg_catalog.!~~) $2::aos_sandbox.short_text;
comment on function aos_sandbox._not_like(text, text) is 'Behind the operator !~~.';
create operator aos_sandbox.!~~ (leftarg = text, rightarg = text, function = aos_sandbox._not_like);
comment on operator aos_sandbox.!~~ (text, text) is 'As pg_catalog.!~~, for values of a bounded size.';
create function aos_sandbox._not_like(character, text) returns boolean language sql immutable parallel safe
    return $1 operator(pg_catalog.!~~) $2::aos_sandbox.short_text;
comment on function aos_sandbox._not_like(character, text) is 'Behind the operator !~~.';
create operator aos_sandbox.!~~ (leftarg = character, rightarg = text, function = aos_sandbox._not_like);
comment on operator aos_sandbox.!~~ (character, text) is 'As pg_catalog.!~~, for patterns of a bounded size.';
create function aos_sandbox._ilike(text, text) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_text operator(pg_catalog.~~*) $2::aos_sandbox.short_text;
comment on function aos_sandbox._ilike(text, text) is 'Behind the operator ~~*.';
create operator aos_sandbox.~~* (leftarg = text, rightarg = text, function = aos_sandbox._ilike);
comment on operator aos_sandbox.~~* (text, text) is 'As pg_catalog.~~*, for values of a bounded size.';
create function aos_sandbox._ilike(character, text) returns boolean language sql immutable parallel safe
    return $1 operator(pg_catalog.~~*) $2::aos_sandbox.short_text;
comment on function aos_sandbox._ilike(character, text) is 'Behind the operator ~~*.';
create operator aos_sandbox.~~* (leftarg = character, rightarg = text, function = aos_sandbox._ilike);
comment on operator aos_sandbox.~~* (character, text) is 'As pg_catalog.~~*, for patterns of a bounded size.';
create function aos_sandbox._not_ilike(text, text) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_text operator(pg_catalog.!~~*) $2::aos_sandbox.short_text;
comment on function aos_sandbox._not_ilike(text, text) is 'Behind the operator !~~*.';
create operator aos_sandbox.!~~* (leftarg = text, rightarg = text, function = aos_sandbox._not_ilike);
comment on operator aos_sandbox.!~~* (text, text) is 'As pg_catalog.!~~*, for values of a bounded size.';
create function aos_sandbox._not_ilike(character, text) returns boolean language sql immutable parallel safe
    return $1 operator(pg_catalog.!~~*) $2::aos_sandbox.short_text;
comment on function aos_sandbox._not_ilike(character, text) is 'Behind the operator !~~*.';
create operator aos_sandbox.!~~* (leftarg = character, rightarg = text, function = aos_sandbox._not_ilike);
comment on operator aos_sandbox.!~~* (character, text) is 'As pg_catalog.!~~*, for patterns of a bounded size.';
create function aos_sandbox._match(text, text) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_text operator(pg_catalog.~) $2::aos_sandbox.short_text;
comment on function aos_sandbox._match(text, text) is 'Behind the operator ~.';
create operator aos_sandbox.~ (leftarg = text, rightarg = text, function = aos_sandbox._match);
comment on operator aos_sandbox.~ (text, text) is 'As pg_catalog.~, for values of a bounded size.';
create function aos_sandbox._match(character, text) returns boolean language sql immutable parallel safe
    return $1 operator(pg_catalog.~) $2::aos_sandbox.short_text;
comment on function aos_sandbox._match(character, text) is 'Behind the operator ~.';
create operator aos_sandbox.~ (leftarg = character, rightarg = text, function = aos_sandbox._match);
comment on operator aos_sandbox.~ (character, text) is 'As pg_catalog.~, for patterns of a bounded size.';
create function aos_sandbox._imatch(text, text) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_text operator(pg_catalog.~*) $2::aos_sandbox.short_text;
comment on function aos_sandbox._imatch(text, text) is 'Behind the operator ~*.';
create operator aos_sandbox.~* (leftarg = text, rightarg = text, function = aos_sandbox._imatch);
comment on operator aos_sandbox.~* (text, text) is 'As pg_catalog.~*, for values of a bounded size.';
create function aos_sandbox._imatch(character, text) returns boolean language sql immutable parallel safe
    return $1 operator(pg_catalog.~*) $2::aos_sandbox.short_text;
comment on function aos_sandbox._imatch(character, text) is 'Behind the operator ~*.';
create operator aos_sandbox.~* (leftarg = character, rightarg = text, function = aos_sandbox._imatch);
comment on operator aos_sandbox.~* (character, text) is 'As pg_catalog.~*, for patterns of a bounded size.';
create function aos_sandbox._not_match(text, text) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_text operator(pg_catalog.!~) $2::aos_sandbox.short_text;
comment on function aos_sandbox._not_match(text, text) is 'Behind the operator !~.';
create operator aos_sandbox.!~ (leftarg = text, rightarg = text, function = aos_sandbox._not_match);
comment on operator aos_sandbox.!~ (text, text) is 'As pg_catalog.!~, for values of a bounded size.';
create function aos_sandbox._not_match(character, text) returns boolean language sql immutable parallel safe
    return $1 operator(pg_catalog.!~) $2::aos_sandbox.short_text;
comment on function aos_sandbox._not_match(character, text) is 'Behind the operator !~.';
create operator aos_sandbox.!~ (leftarg = character, rightarg = text, function = aos_sandbox._not_match);
comment on operator aos_sandbox.!~ (character, text) is 'As pg_catalog.!~, for patterns of a bounded size.';
create function aos_sandbox._not_imatch(text, text) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_text operator(pg_catalog.!~*) $2::aos_sandbox.short_text;
comment on function aos_sandbox._not_imatch(text, text) is 'Behind the operator !~*.';
create operator aos_sandbox.!~* (leftarg = text, rightarg = text, function = aos_sandbox._not_imatch);
comment on operator aos_sandbox.!~* (text, text) is 'As pg_catalog.!~*, for values of a bounded size.';
create function aos_sandbox._not_imatch(character, text) returns boolean language sql immutable parallel safe
    return $1 operator(pg_catalog.!~*) $2::aos_sandbox.short_text;
comment on function aos_sandbox._not_imatch(character, text) is 'Behind the operator !~*.';
create operator aos_sandbox.!~* (leftarg = character, rightarg = text, function = aos_sandbox._not_imatch);
comment on operator aos_sandbox.!~* (character, text) is 'As pg_catalog.!~*, for patterns of a bounded size.';
create function aos_sandbox._less(text, text) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_text operator(pg_catalog.<) $2::aos_sandbox.bounded_text;
comment on function aos_sandbox._less(text, text) is 'Behind the operator <.';
create operator aos_sandbox.< (leftarg = text, rightarg = text, function = aos_sandbox._less);
comment on operator aos_sandbox.< (text, text) is 'As pg_catalog.<, for values of a bounded size.';
create function aos_sandbox._less(bytea, bytea) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_bytea operator(pg_catalog.<) $2::aos_sandbox.bounded_bytea;
comment on function aos_sandbox._less(bytea, bytea) is 'Behind the operator <.';
create operator aos_sandbox.< (leftarg = bytea, rightarg = bytea, function = aos_sandbox._less);
comment on operator aos_sandbox.< (bytea, bytea) is 'As pg_catalog.<, for values of a bounded size.';
create function aos_sandbox._less_or_equal(text, text) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_text operator(pg_catalog.<=) $2::aos_sandbox.bounded_text;
comment on function aos_sandbox._less_or_equal(text, text) is 'Behind the operator <=.';
create operator aos_sandbox.<= (leftarg = text, rightarg = text, function = aos_sandbox._less_or_equal);
comment on operator aos_sandbox.<= (text, text) is 'As pg_catalog.<=, for values of a bounded size.';
create function aos_sandbox._less_or_equal(bytea, bytea) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_bytea operator(pg_catalog.<=) $2::aos_sandbox.bounded_bytea;
comment on function aos_sandbox._less_or_equal(bytea, bytea) is 'Behind the operator <=.';
create operator aos_sandbox.<= (leftarg = bytea, rightarg = bytea, function = aos_sandbox._less_or_equal);
comment on operator aos_sandbox.<= (bytea, bytea) is 'As pg_catalog.<=, for values of a bounded size.';
create function aos_sandbox._greater(text, text) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_text operator(pg_catalog.>) $2::aos_sandbox.bounded_text;
comment on function aos_sandbox._greater(text, text) is 'Behind the operator >.';
create operator aos_sandbox.> (leftarg = text, rightarg = text, function = aos_sandbox._greater);
comment on operator aos_sandbox.> (text, text) is 'As pg_catalog.>, for values of a bounded size.';
create function aos_sandbox._greater(bytea, bytea) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_bytea operator(pg_catalog.>) $2::aos_sandbox.bounded_bytea;
comment on function aos_sandbox._greater(bytea, bytea) is 'Behind the operator >.';
create operator aos_sandbox.> (leftarg = bytea, rightarg = bytea, function = aos_sandbox._greater);
comment on operator aos_sandbox.> (bytea, bytea) is 'As pg_catalog.>, for values of a bounded size.';
create function aos_sandbox._greater_or_equal(text, text) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_text operator(pg_catalog.>=) $2::aos_sandbox.bounded_text;
comment on function aos_sandbox._greater_or_equal(text, text) is 'Behind the operator >=.';
create operator aos_sandbox.>= (leftarg = text, rightarg = text, function = aos_sandbox._greater_or_equal);
comment on operator aos_sandbox.>= (text, text) is 'As pg_catalog.>=, for values of a bounded size.';
create function aos_sandbox._greater_or_equal(bytea, bytea) returns boolean language sql immutable parallel safe
    return $1::aos_sandbox.bounded_bytea operator(pg_catalog.>=) $2::aos_sandbox.bounded_bytea;
comment on function aos_sandbox._greater_or_equal(bytea, bytea) is 'Behind the operator >=.';
create operator aos_sandbox.>= (leftarg = bytea, rightarg = bytea, function = aos_sandbox._greater_or_equal);
comment on operator aos_sandbox.>= (bytea, bytea) is 'As pg_catalog.>=, for values of a bounded size.';
