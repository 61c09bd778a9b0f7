-- Who may what: every change of these tables is an event, whether a function made it or plain SQL. The last file of this
-- schema, so that what the extension itself brings along is none.
--
-- A dump is restored with row_security off, and then the events come from the dump. Nobody but a superuser gets a row in
-- that way: for everybody else a statement fails that row security would filter.
do $$
declare
    v_table text;
    v_columns text;
begin
    for v_table, v_columns in values
        ('aos_auth.tenant', 'is_active, keep_conversations'),
        ('aos_auth.principal', 'principal_id, principal_type, db_role, is_active'),
        ('aos_auth.role_grant', 'principal_id, role_name, expires_at'),
        ('aos_auth.agent_role', 'db_role'),
        ('aos_auth.ticket_key', 'key_id'),
        ('aos_meta.secret', 'secret_id, key_id, available_to'),
        ('aos_meta.secret_grant', 'secret_id'),
        ('aos_meta.provider', 'provider'),
        ('aos_meta.llm_model_registry', 'model_id, is_active'),
        ('aos_meta.setting', 'name'),
        ('aos_persona.persona', 'persona_id, version_no, model_id, fallback_model_id'),
        ('aos_skills.skill', 'skill_id, implementation, approval, risk, is_active'),
        ('aos_skills.role_skill', 'role_name, skill_id, approval'),
        ('aos_skills.risk_policy', 'role_name, risk, approval'),
        ('aos_skills.http_endpoint', 'skill_id'),
        ('aos_skills.http_host', 'host_id, skill_id, scheme, port, allow_private'),
        ('aos_agent.agent', 'agent_id, persona_id, role_name, db_role, runner, is_active'),
        ('aos_agent.agent_skill', 'agent_id, skill_id, approval'),
        ('aos_agent.budget', 'budget_id, agent_id, conversation_id, period, max_tokens, max_cost'),
        ('aos_agent.sql_access', 'sql_access_id, agent_id'),
        ('aos_agent.sql_function_access', 'function_name')
    loop
        execute format('create trigger log_change after insert or update or delete on %s for each row
            when (current_setting(''row_security'') = ''on'') execute function aos_core._log_change(%s)', v_table, v_columns);
    end loop;
end
$$;
