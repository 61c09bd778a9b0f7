-- The devices are the operator's; who makes agents may see which there are.
grant select on aos_meta.setting, aos_meta.llm_model_registry to pgagentos_user, pgagentos_developer, pgagentos_worker, pgagentos_auditor, pgagentos_operator;
grant select (provider, driver, base_url, secret_name, api_key_env, carrier, is_builtin) on aos_meta.provider to pgagentos_developer, pgagentos_auditor;
grant select, insert, update, delete on aos_meta.provider to pgagentos_operator;
grant insert, update, delete on aos_meta.setting, aos_meta.llm_model_registry to pgagentos_operator;

grant execute on function aos_meta.setting(text) to pgagentos_developer, pgagentos_operator;
grant execute on function aos_meta.call_cost(aos_meta.llm_model_registry, integer, integer, integer, integer) to pgagentos_developer, pgagentos_operator;
do $$
begin
    execute (select format('grant execute on function %s to pgagentos_developer, pgagentos_operator', p.oid::regprocedure)
               from pg_proc as p where p.proname = 'embed' and p.pronamespace = 'aos_meta'::regnamespace);
    execute (select format('grant execute on function %s to pgagentos_developer, pgagentos_operator', p.oid::regprocedure)
               from pg_proc as p where p.proname = 'has_api_key' and p.pronamespace = 'aos_meta'::regnamespace);
end
$$;
