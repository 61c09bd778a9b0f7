-- Rows that CREATE EXTENSION makes are presets (is_builtin). An operator's change makes such a row his own, so that
-- pg_dump takes it along; when it is restored into a database that has the preset again, it takes the preset's place.
-- The preset's row is changed in place, so that what refers to it (the models of a provider, the skills of a role) stays.

create function aos_meta._own_preset() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if new.is_builtin and old is distinct from new then
        new.is_builtin := false;
    end if;
    return new;
end
$$;
comment on function aos_meta._own_preset() is 'Trigger: a preset that was changed is the operator''s own row from then on.';

create function aos_meta._replace_preset() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_replaced bigint;
begin
    if not new.is_builtin then
        -- The key's columns are the trigger's arguments.
        execute format('update %I.%I as preset set %s where preset.is_builtin and %s', tg_table_schema, tg_table_name,
            (select string_agg(format('%1$I = $1.%1$I', a.attname), ', ')
               from pg_attribute as a where a.attrelid = tg_relid and a.attnum > 0 and not a.attisdropped),
            (select string_agg(format('preset.%1$I is not distinct from $1.%1$I', tg_argv[i]), ' and ')
               from generate_series(0, tg_nargs - 1) as i))
        using new;
        get diagnostics v_replaced = row_count;
        if v_replaced > 0 then
            return null;  -- the row is there already, where the preset was
        end if;
    end if;
    return new;
end
$$;
comment on function aos_meta._replace_preset() is 'Trigger: a row of the operator takes the place of the preset with the same key.';

create trigger own_preset before update on aos_meta.setting for each row execute function aos_meta._own_preset();
create trigger replace_preset before insert on aos_meta.setting for each row execute function aos_meta._replace_preset('name');
create trigger own_preset before update on aos_meta.provider for each row execute function aos_meta._own_preset();
create trigger replace_preset before insert on aos_meta.provider for each row execute function aos_meta._replace_preset('provider');
create trigger own_preset before update on aos_meta.llm_model_registry for each row execute function aos_meta._own_preset();
create trigger replace_preset before insert on aos_meta.llm_model_registry for each row execute function aos_meta._replace_preset('model_name');
create trigger own_preset before update on aos_auth.role for each row execute function aos_meta._own_preset();
create trigger replace_preset before insert on aos_auth.role for each row execute function aos_meta._replace_preset('role_name');
create trigger own_preset before update on aos_skills.skill for each row execute function aos_meta._own_preset();
-- Presets are every tenant's; a tenant's developer, who adds a skill of its own, may not write what the trigger does.
create trigger replace_preset before insert on aos_skills.skill for each row when (new.tenant_id is null)
    execute function aos_meta._replace_preset('tenant_id', 'name');
-- Not of skill_id: a preset that follows a skill of the operator's to its new identity stays a preset.
create trigger own_preset before update of role_name, approval, limits on aos_skills.role_skill for each row execute function aos_meta._own_preset();
create trigger replace_preset before insert on aos_skills.role_skill for each row execute function aos_meta._replace_preset('role_name', 'skill_id');
