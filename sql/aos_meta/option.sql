create function aos_meta._refuse_options() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_wrong record;
begin
    -- What is not listed here belongs to no driver and is left alone.
    select o.key, o.value, k.wanted into v_wrong
      from jsonb_each(case jsonb_typeof(new.options) when 'object' then new.options else '{}' end) as o
      join (values
            ('timeout_seconds', '^(?!0+(\.0*)?$)\d', 'a number of seconds, more than 0'),
            ('extra_headers', '^\{', 'an object'),
            ('query', '^\{', 'an object'),
            ('auth_header', '^"[A-Za-z0-9-]+"$', 'the name of a header'),
            ('tool_choice', '^(true|false)$', 'true or false'),
            ('strict_tools', '^(true|false)$', 'true or false'),
            ('strict_schema', '^(true|false)$', 'true or false'),
            ('call_ids', '^"(auto|response|vendor)"$', 'auto, response or vendor'),
            ('note_role', '^"(system|developer|user)"$', 'system, developer or user'),
            ('extra_body', '^\{', 'an object'),
            ('system_role', '^"(system|developer|user)"$', 'system, developer or user'),
            ('max_tokens_field', '^"\w+"$', 'the name of a member'),
            ('reasoning_field', '^"(reasoning_content|reasoning)"$', 'reasoning_content or reasoning'),
            ('tool_mode', '^"(native|json_schema)"$', 'native or json_schema'),
            ('response_format', '^"(json_schema|json_object)"$', 'json_schema or json_object'),
            ('tools_with_reasoning', '^(true|false)$', 'true or false'),
            ('reasoning_summary', '^"(auto|concise|detailed)"$', 'auto, concise or detailed'),
            ('calls_last', '^(true|false)$', 'true or false'),
            ('anthropic_version', '^"[\w.-]+"$', 'a version'),
            ('auth', '^"(x-api-key|bearer)"$', 'x-api-key or bearer'),
            ('anthropic_beta', '^["[]', 'a name or an array of names'),
            ('prompt_cache', '^(true|false)$', 'true or false'),
            ('cache_ttl', '^"(5m|1h)"$', '5m or 1h'),
            ('max_nonstreaming_tokens', '^[1-9]\d{0,8}$', 'a whole number, 1 or more'),
            ('server_tools', '^\[', 'an array'),
            ('api_version', '^"[\w.-]+"$', 'a version'),
            ('include_thoughts', '^(true|false)$', 'true or false'),
            ('safety_settings', '^\[', 'an array'),
            ('schema_dialect', '^"(json_schema|openapi)"$', 'json_schema or openapi'),
            ('num_ctx', '^[1-9]\d{0,8}$', 'a whole number, 1 or more'),
            ('think', '^(true|false|"\w+")$', 'true, false or a level'),
            ('keep_alive', '^(-?\d|")', 'a number of seconds or a time, for example 30m'),
            ('text_tool_calls', '^(true|false)$', 'true or false'),
            ('ollama_options', '^\{', 'an object'),
            ('input_type', '^(true|false)$', 'true or false')) as k (name, pattern, wanted) on k.name = o.key
     where o.value::text !~ k.pattern
     limit 1;
    if found then
        raise exception using errcode = 'OS001',
            message = format('the option %s has to be %s, not %s', v_wrong.key, v_wrong.wanted, left(v_wrong.value::text, 100)),
            hint = 'Leave it out for the default; docs/providers.md says what it means.';
    end if;
    return new;
end
$$;
comment on function aos_meta._refuse_options() is
    'Trigger: an option whose value its driver could not use is refused here and not in the middle of a turn.';

create trigger refuse_options before insert or update of options on aos_meta.provider
    for each row execute function aos_meta._refuse_options();
create trigger refuse_options before insert or update of options on aos_meta.llm_model_registry
    for each row execute function aos_meta._refuse_options();
