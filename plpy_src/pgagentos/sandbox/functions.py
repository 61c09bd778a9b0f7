"""The functions of ``pg_catalog`` that a query may call, by name and argument types.

The names of types are those of ``pg_type``. A function whose one call can take long is not here: the
schema aos_sandbox has a stand-in with bounded arguments under the same name, which the sandbox finds
first. Functions that only casts use are allowed by ``pg_cast``, see :mod:`.judge`.
"""

from __future__ import annotations

from .operators import VECTOR_OPERATORS


def _signatures(text: str) -> frozenset[str]:
    found: set[str] = set()
    for line in text.split("\n"):
        name, _, lists = line.strip().partition(" ")
        found.update(f"{name}({arguments.replace('-', '')})" for arguments in lists.split())
    return frozenset(found)


#: A dash stands for no argument.
FUNCTIONS = _signatures(
    """ascii text
    chr int4
    concat any
    concat_ws text,any
    octet_length text bytea bpchar
    bit_length text bytea
    starts_with text,text
    format text text,any
    to_hex int4 int8
    to_bin int4 int8
    to_oct int4 int8
    like_escape text,text
    similar_to_escape text text,text
    quote_literal text
    casefold text
    abs int2 int4 int8 float4 float8 numeric
    sign float8 numeric
    ceil float8 numeric
    ceiling float8 numeric
    floor float8 numeric
    round float8 numeric numeric,int4
    trunc float8 numeric numeric,int4
    mod int2,int2 int4,int4 int8,int8
    gcd int4,int4 int8,int8
    lcm int4,int4 int8,int8
    sqrt float8
    cbrt float8
    exp float8
    ln float8
    log float8
    log10 float8
    power float8,float8
    pow float8,float8
    degrees float8
    radians float8
    pi -
    sin float8
    cos float8
    tan float8
    cot float8
    asin float8
    acos float8
    atan float8
    atan2 float8,float8
    scale numeric
    width_bucket float8,float8,float8,int4
    random - int4,int4 int8,int8 numeric,numeric
    random_normal float8,float8
    now -
    transaction_timestamp -
    statement_timestamp -
    clock_timestamp -
    age timestamp timestamptz timestamp,timestamp timestamptz,timestamptz
    date_trunc text,interval text,timestamp text,timestamptz text,timestamptz,text
    date_bin interval,timestamp,timestamp interval,timestamptz,timestamptz
    date_part text,date text,interval text,time text,timestamp text,timestamptz text,timetz
    extract text,date text,interval text,time text,timestamp text,timestamptz text,timetz
    date_add timestamptz,interval timestamptz,interval,text
    date_subtract timestamptz,interval timestamptz,interval,text
    timezone interval,timestamp interval,timestamptz interval,timetz text,timestamp text,timestamptz text,timetz
    timezone timestamp timestamptz
    make_date int4,int4,int4
    make_time int4,int4,float8
    make_timestamp int4,int4,int4,int4,int4,float8
    make_timestamptz int4,int4,int4,int4,int4,float8 int4,int4,int4,int4,int4,float8,text
    make_interval int4,int4,int4,int4,int4,int4,float8
    to_timestamp float8
    justify_days interval
    justify_hours interval
    justify_interval interval
    isfinite date timestamp timestamptz interval
    overlaps time,time,time,time timestamp,timestamp,timestamp,timestamp timestamptz,timestamptz,timestamptz,timestamptz
    overlaps timestamp,interval,timestamp,interval timestamptz,interval,timestamptz,interval
    overlaps timestamp,timestamp,timestamp,interval timestamp,interval,timestamp,timestamp
    overlaps timestamptz,timestamptz,timestamptz,interval timestamptz,interval,timestamptz,timestamptz
    lower anyrange
    upper anyrange
    isempty anyrange
    lower_inc anyrange
    upper_inc anyrange
    lower_inf anyrange
    upper_inf anyrange
    daterange date,date date,date,text
    int4range int4,int4 int4,int4,text
    int8range int8,int8 int8,int8,text
    numrange numeric,numeric numeric,numeric,text
    tsrange timestamp,timestamp timestamp,timestamp,text
    tstzrange timestamptz,timestamptz timestamptz,timestamptz,text
    gen_random_uuid -
    uuidv4 -
    uuidv7 - interval
    uuid_extract_timestamp uuid
    uuid_extract_version uuid
    host inet
    family inet
    masklen inet
    network inet
    num_nonnulls any
    num_nulls any
    cardinality anyarray
    array_length anyarray,int4
    array_lower anyarray,int4
    array_upper anyarray,int4
    array_ndims anyarray
    array_append anycompatiblearray,anycompatible
    array_prepend anycompatible,anycompatiblearray
    array_cat anycompatiblearray,anycompatiblearray
    array_remove anycompatiblearray,anycompatible
    trim_array anyarray,int4
    unnest anyarray
    generate_subscripts anyarray,int4
    to_json anyelement
    to_jsonb anyelement
    row_to_json record
    array_to_json anyarray
    json_build_object - any
    json_build_array - any
    jsonb_build_object - any
    jsonb_build_array - any
    json_typeof json
    jsonb_typeof jsonb
    jsonb_extract_path jsonb,_text
    jsonb_extract_path_text jsonb,_text
    jsonb_strip_nulls jsonb
    row_number -
    rank -
    dense_rank -
    percent_rank -
    cume_dist -
    ntile int4
    lag anyelement anyelement,int4 anycompatible,int4,anycompatible
    lead anyelement anyelement,int4 anycompatible,int4,anycompatible
    first_value anyelement
    last_value anyelement
    nth_value anyelement,int4
    count - any
    sum int2 int4 int8 float4 float8 numeric interval
    avg int2 int4 int8 float4 float8 numeric interval
    min int2 int4 int8 float4 float8 numeric text bpchar date time timetz timestamp timestamptz interval inet anyenum
    max int2 int4 int8 float4 float8 numeric text bpchar date time timetz timestamp timestamptz interval inet anyenum
    any_value anyelement
    bool_and bool
    bool_or bool
    every bool
    bit_and int2 int4 int8
    bit_or int2 int4 int8
    string_agg text,text
    array_agg anynonarray anyarray
    json_agg anyelement
    jsonb_agg anyelement
    json_object_agg any,any
    jsonb_object_agg any,any
    stddev int2 int4 int8 float4 float8 numeric
    stddev_pop int2 int4 int8 float4 float8 numeric
    stddev_samp int2 int4 int8 float4 float8 numeric
    variance int2 int4 int8 float4 float8 numeric
    var_pop int2 int4 int8 float4 float8 numeric
    var_samp int2 int4 int8 float4 float8 numeric
    corr float8,float8
    covar_pop float8,float8
    covar_samp float8,float8
    regr_slope float8,float8
    regr_intercept float8,float8
    regr_r2 float8,float8
    regr_count float8,float8
    regr_avgx float8,float8
    regr_avgy float8,float8
    percentile_cont float8,float8 _float8,float8 float8,interval _float8,interval
    percentile_disc float8,anyelement _float8,anyelement
    mode anyelement"""
)

#: functions that parse analysis itself puts there: RANGE frames of windows
IN_RANGE = "in_range"

#: stand-ins with a regular expression, which must be a constant
WITH_PATTERN = frozenset(
    {
        "regexp_replace(text,text,text)",
        "regexp_replace(text,text,text,text)",
        "substring(text,text)",
    }
    | {
        f"regexp_{name}(text,text{flags})"
        for name in ("match", "matches", "split_to_array", "split_to_table")
        for flags in ("", ",text")
    }
    | {"~", "~*", "!~", "!~*"}
)

#: aggregates that multiply each value with itself: their argument goes through aos_sandbox._bounded
SQUARES = frozenset({"stddev", "stddev_pop", "stddev_samp", "variance", "var_pop", "var_samp"})

#: functions of the extension vector
VECTOR_FUNCTIONS = frozenset(
    {
        "cosine_distance",
        "inner_product",
        "l1_distance",
        "l2_distance",
        "l2_normalize",
        "vector_dims",
        "vector_norm",
    }
)

#: words that look like a function and are grammar
GRAMMAR = frozenset(
    "coalesce nullif greatest least extract position substring trim grouping cast array row exists any all some in"
    " values cube rollup sets unnest overlaps".split()
)


def _names() -> frozenset[str]:
    return frozenset(signature.partition("(")[0] for signature in FUNCTIONS)


NAMES = _names()

#: functions of aos_sandbox: originals with bounded arguments
STAND_INS = frozenset(
    "replace translate strpos position split_part string_to_array btrim ltrim rtrim lpad rpad repeat upper lower initcap"
    " reverse md5 length char_length character_length left right substr substring sha256 encode decode to_char"
    " to_date to_timestamp to_number regexp_replace regexp_match regexp_split_to_array regexp_matches"
    " regexp_split_to_table string_to_table mod div sqrt ln log log10 exp power pow width_bucket generate_series"
    " json_array_length json_array_elements json_array_elements_text json_each json_each_text json_object_keys"
    " jsonb_array_length jsonb_array_elements jsonb_array_elements_text jsonb_each jsonb_each_text"
    " jsonb_object_keys array_position array_to_string _bounded".split()
)
#: what shows that a query needs the extension vector
OF_VECTOR = VECTOR_FUNCTIONS | VECTOR_OPERATORS
