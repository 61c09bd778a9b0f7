create function aos_persona.compose_prompt(system_prompt text, traits jsonb, rules text[]) returns text
    language sql immutable parallel safe set search_path = pg_catalog, pg_temp
return concat_ws(E'\n\n',
    system_prompt,
    (select E'Your traits:\n' || string_agg('- ' || t.key || ': ' || t.value, E'\n' order by t.key) from jsonb_each_text(traits) as t),
    (select E'Your rules:\n' || string_agg('- ' || r.rule, E'\n' order by r.no) from unnest(rules) with ordinality as r (rule, no)));
comment on function aos_persona.compose_prompt(text, jsonb, text[]) is 'The whole system prompt: the text, then the traits, then the rules.';

-- A restore turns row security off, so that nothing is left out in silence. What these triggers look up is not what is
-- restored: under row security as ever.
create function aos_persona._count_version() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp set row_security = on
as $$
begin
    if (new.system_prompt, new.model_id, new.fallback_model_id, new.traits, new.rules, new.params)
        is distinct from (old.system_prompt, old.model_id, old.fallback_model_id, old.traits, old.rules, old.params)
    then
        -- What is about to change is written down first, even when no turn has used it yet.
        perform aos_persona._version_of(old);
        new.version_no := old.version_no + 1;
        new.updated_at := now();
    else
        new.version_no := old.version_no;
    end if;
    return new;
end
$$;
comment on function aos_persona._count_version() is 'Trigger: a change of a persona makes a new version.';

create function aos_persona._version_of(persona aos_persona.persona) returns uuid
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
begin
    select v.persona_version_id into v_id
      from aos_persona.persona_version as v
     where v.persona_id = (persona).persona_id and v.version_no = (persona).version_no and v.tenant_id = (persona).tenant_id;
    if v_id is null then
        insert into aos_persona.persona_version
            (tenant_id, persona_id, version_no, system_prompt, model_id, fallback_model_id, params)
        values ((persona).tenant_id, (persona).persona_id, (persona).version_no,
            aos_persona.compose_prompt((persona).system_prompt, (persona).traits, (persona).rules),
            (persona).model_id, (persona).fallback_model_id, (persona).params)
        on conflict on constraint persona_version_number_is_unique do nothing
        returning persona_version_id into v_id;
        if v_id is null then  -- another session was quicker
            select v.persona_version_id into v_id
              from aos_persona.persona_version as v
             where v.persona_id = (persona).persona_id and v.version_no = (persona).version_no and v.tenant_id = (persona).tenant_id;
        end if;
    end if;
    return v_id;
end
$$;
comment on function aos_persona._version_of(aos_persona.persona) is
    'The version that holds a persona as it is now; made when it is not there.';

create function aos_persona._refuse_params() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_wrong record;
begin
    select p.key, p.value, k.wanted into v_wrong
      from jsonb_each(case jsonb_typeof(new.params) when 'object' then new.params else '{}' end) as p
      left join (values
            ('temperature', '^\d', 'a number, 0 or more'),
            ('top_p', '^\d', 'a number, 0 or more'),
            ('max_output_tokens', '^[1-9]\d{0,8}$', 'a whole number, 1 or more'),
            ('stop', '^\[("([^"\\]|\\.)*"(, )?)*\]$', 'an array of strings'),
            ('seed', '^-?\d{1,18}$', 'a whole number'),
            ('reasoning_effort', '^"(none|minimal|low|medium|high|xhigh|max)"$', 'none, minimal, low, medium, high, xhigh or max'),
            ('response_schema', '^\{', 'an object, a JSON Schema'),
            ('parallel_tool_calls', '^(true|false)$', 'true or false'),
            ('history_turns', '^\d{1,6}$', 'a whole number, 0 or more')) as k (name, pattern, wanted) on k.name = p.key
     where k.name is null or (p.value <> 'null' and p.value::text !~ k.pattern)
     limit 1;
    if found then
        raise exception using errcode = 'OS001',
            message = case when v_wrong.wanted is null then format('a persona has no parameter %L', v_wrong.key)
                else format('the parameter %s has to be %s, not %s', v_wrong.key, v_wrong.wanted, left(v_wrong.value::text, 100)) end,
            hint = case when v_wrong.wanted is null then
                'The comment of aos_persona.persona.params lists them; what only one vendor knows belongs into the options of its provider or model.'
                else 'Leave it out, or set it to null, for the default.' end;
    end if;
    return new;
end
$$;
comment on function aos_persona._refuse_params() is
    'Trigger: a parameter that no driver knows, or whose value none could use, is refused here and not in the middle of a turn.';

create trigger refuse_params before insert or update of params on aos_persona.persona
    for each row execute function aos_persona._refuse_params();

create trigger count_version before update on aos_persona.persona
    for each row execute function aos_persona._count_version();

create function aos_persona._keep_version() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp set row_security = on
as $$
begin
    perform aos_persona._version_of(new);
    return null;
end
$$;
comment on function aos_persona._keep_version() is 'Trigger: a persona has its version from the start, so that no two turns meet at making it.';

create trigger keep_version after insert or update on aos_persona.persona
    for each row execute function aos_persona._keep_version();

create function aos_persona._take_place() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp set row_security = on
as $$
begin
    -- Looked up first: but for a restore there is none, and who changes a persona need not have the right to delete.
    if exists (select from aos_persona.persona_version as v
                where v.persona_id = new.persona_id and v.version_no = new.version_no and v.tenant_id = new.tenant_id) then
        delete from aos_persona.persona_version as v
         where v.persona_id = new.persona_id and v.version_no = new.version_no and v.tenant_id = new.tenant_id
           and not exists (select from aos_core.run as r where r.persona_version_id = v.persona_version_id and r.tenant_id = v.tenant_id);
    end if;
    return new;
end
$$;
comment on function aos_persona._take_place() is
    'Trigger: a version that comes out of a dump takes the place of the one that the restored persona has just made, which no turn has used.';

create trigger take_place before insert on aos_persona.persona_version
    for each row execute function aos_persona._take_place();

create function aos_persona._refuse_change() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = 'OS003', message = 'a version of a persona never changes',
        hint = 'Update aos_persona.persona: that makes a new version.';
end
$$;
comment on function aos_persona._refuse_change() is 'Trigger: versions of personas are immutable.';

create trigger refuse_change before update on aos_persona.persona_version
    for each row execute function aos_persona._refuse_change();
