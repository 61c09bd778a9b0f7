"""Impossible states cannot be stored: every constraint has a row that it refuses by its name."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from cluster import Database
from house import House

NEW = str(uuid4())
NOW = "2026-01-01T00:00:00Z"
UNCLAIMED = {"worker": None, "claimed_at": None, "lease_until": None, "has_lock": False}

#: name of the constraint -> (row that is copied, what the copy has instead)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    # aos_auth
    "tenant_pkey": ("tenant", {}),
    "tenant_name_is_unique": ("tenant", {"tenant_id": NEW}),
    "tenant_name_is_not_empty": ("tenant", {"name": ""}),
    "tenant_id_is_not_the_one_that_stands_for_all": ("tenant", {"tenant_id": str(UUID(int=0))}),
    "tenant_limits_are_positive": ("tenant", {"tenant_id": NEW, "requests_per_minute": 0}),
    "tenant_keeps_conversations_for_some_time": (
        "tenant",
        {"tenant_id": NEW, "keep_conversations": "0 days"},
    ),
    "role_pkey": ("role", {}),
    "role_name_is_not_empty": ("role", {"role_name": ""}),
    "principal_pkey": ("principal", {}),
    "principal_belongs_to_a_tenant": (
        "principal",
        {"principal_id": NEW, "tenant_id": NEW, "db_role": None},
    ),
    "principal_type_is_known": ("principal", {"principal_type": "robot"}),
    "principal_external_id_is_unique_in_its_tenant": (
        "principal",
        {"principal_id": NEW, "db_role": None},
    ),
    "principal_db_role_is_unique": ("principal", {"principal_id": NEW, "external_id": None}),
    "role_grant_pkey": ("role_grant", {}),
    "role_grant_names_a_principal": ("role_grant", {"principal_id": NEW}),
    "role_grant_names_a_role": ("role_grant", {"role_name": "nobody"}),
    "role_grant_expires_after_it_was_granted": ("role_grant", {"expires_at": "2000-01-01"}),
    "ticket_key_pkey": ("ticket_key", {}),
    "ticket_key_name_is_plain": ("ticket_key", {"key_id": "with.dot"}),
    "ticket_key_ends_after_it_was_created": (
        "ticket_key",
        {"key_id": "other", "not_after": "2000-01-01"},
    ),
    "agent_role_pkey": ("agent_role", {}),
    "agent_role_belongs_to_a_tenant": ("agent_role", {"tenant_id": NEW}),
    # aos_meta
    "secret_pkey": ("secret", {}),
    "secret_name_is_unique_for_its_owner": ("secret", {"secret_id": NEW}),
    "secret_belongs_to_a_tenant": ("secret", {"secret_id": NEW, "tenant_id": NEW}),
    "secret_name_is_plain": ("secret", {"name": "with space"}),
    "secret_names_its_hosts_or_none": ("secret", {"hosts": []}),
    "secret_available_to_is_known": ("shared_secret", {"available_to": "some"}),
    "only_the_operators_secrets_are_granted": ("secret", {"available_to": "granted"}),
    "secret_grant_pkey": ("secret_grant", {}),
    "secret_grant_names_a_secret": ("secret_grant", {"secret_id": NEW}),
    "secret_grant_names_a_tenant": ("secret_grant", {"tenant_id": NEW}),
    "setting_pkey": ("setting", {}),
    "max_model_calls_is_a_positive_whole_number": ("setting", {"value": 0}),
    "history_turns_is_a_whole_number_or_null": (
        "setting",
        {"name": "history_turns", "value": -1},
    ),
    "approval_expires_after_is_a_positive_interval": (
        "setting",
        {"name": "approval_expires_after", "value": "-1 days"},
    ),
    "function_deadline_is_at_most_five_minutes": (
        "setting",
        {"name": "function_deadline_seconds", "value": 301},
    ),
    "http_timeout_is_between_1_and_300_seconds": (
        "setting",
        {"name": "http_timeout_seconds", "value": 301},
    ),
    "http_limits_are_whole_numbers_above_0": (
        "setting",
        {"name": "http_max_request_bytes", "value": 0},
    ),
    "http_max_body_characters_is_between_1_and_99999": (
        "setting",
        {"name": "http_max_body_characters", "value": 100000},
    ),
    "http_max_redirects_is_at_most_10": (
        "setting",
        {"name": "http_max_redirects", "value": 11},
    ),
    "queue_max_attempts_is_between_1_and_1000": (
        "setting",
        {"name": "queue_max_attempts", "value": 0},
    ),
    "queue_retry_seconds_is_between_0_and_3600": (
        "setting",
        {"name": "queue_retry_seconds", "value": 3601},
    ),
    "queue_keeps_for_a_positive_interval": (
        "setting",
        {"name": "queue_keep_dedup_keys", "value": "0 days"},
    ),
    "sql_query_deadline_is_at_most_a_minute": (
        "setting",
        {"name": "sql_query_deadline_seconds", "value": 61},
    ),
    "sql_query_caps_are_whole_numbers_within_reason": (
        "setting",
        {"name": "sql_query_max_rows", "value": 10000},
    ),
    "embedding_model_is_a_name_or_null": ("setting", {"name": "embedding_model", "value": ""}),
    "provider_pkey": ("provider", {}),
    "provider_name_is_not_empty": ("provider", {"provider": ""}),
    "provider_driver_is_known": ("provider", {"driver": "telepathy"}),
    "provider_carrier_is_known": ("provider", {"carrier": "pigeon"}),
    "provider_base_url_is_http": ("provider", {"base_url": "https://api.openai.com/v1/"}),
    "provider_options_are_an_object": ("provider", {"options": []}),
    "provider_limits_are_positive": ("provider", {"provider": "x", "tokens_per_minute": 0}),
    "provider_api_key_env_is_a_variable_name": ("provider", {"api_key_env": "MY KEY"}),
    "llm_model_registry_pkey": ("model", {}),
    "model_name_is_unique": ("model", {"model_id": NEW}),
    "model_name_is_not_empty": ("model", {"model_id": NEW, "model_name": ""}),
    "model_names_a_provider": (
        "model",
        {"model_id": NEW, "model_name": "x", "provider": "nobody"},
    ),
    "model_driver_is_known": ("model", {"driver": "telepathy"}),
    "model_context_window_is_positive": ("model", {"context_window": 0}),
    "model_max_output_tokens_is_positive": ("model", {"max_output_tokens": 0}),
    "model_prices_are_not_negative": ("model", {"output_price": -1}),
    "model_capabilities_are_an_object": ("model", {"capabilities": "tools"}),
    "model_options_are_an_object": ("model", {"options": []}),
    # aos_persona
    "persona_pkey": ("persona", {}),
    "persona_name_is_unique_in_its_tenant": ("persona", {"persona_id": NEW}),
    "persona_name_is_not_empty": ("persona", {"persona_id": NEW, "name": ""}),
    "persona_belongs_to_a_tenant": ("persona", {"persona_id": NEW, "tenant_id": NEW}),
    "persona_names_a_model": ("persona", {"persona_id": NEW, "name": "x", "model_id": NEW}),
    "persona_names_a_fallback_model": (
        "persona",
        {"persona_id": NEW, "name": "x", "fallback_model_id": NEW},
    ),
    "persona_traits_are_an_object": ("persona", {"traits": []}),
    "persona_params_are_an_object": ("persona", {"params": []}),
    "persona_version_pkey": ("persona_version", {}),
    "persona_version_number_is_unique": ("persona_version", {"persona_version_id": NEW}),
    "persona_version_belongs_to_a_persona": (
        "persona_version",
        {"persona_version_id": NEW, "persona_id": NEW},
    ),
    "persona_version_names_a_model": (
        "persona_version",
        {"persona_version_id": NEW, "version_no": 99, "model_id": NEW},
    ),
    "persona_version_names_a_fallback_model": (
        "persona_version",
        {"persona_version_id": NEW, "version_no": 99, "fallback_model_id": NEW},
    ),
    # aos_skills
    "skill_pkey": ("skill", {}),
    "skill_belongs_to_a_tenant": ("skill", {"skill_id": NEW, "tenant_id": NEW}),
    "skill_name_fits_every_provider": ("skill", {"name": "with space"}),
    "skill_parameters_are_a_schema_of_an_object": ("skill", {"parameters": {"type": "array"}}),
    "skill_implementation_is_known": ("skill", {"implementation": "magic"}),
    "sql_function_skills_name_their_function": ("skill", {"implementation": "sql_function"}),
    "only_external_skills_say_here_that_they_are_idempotent": (
        "skill",
        {"implementation": "http", "is_idempotent": True},
    ),
    "skill_approval_is_known": ("skill", {"approval": "maybe"}),
    "skill_name_is_unique_in_its_tenant": ("skill", {"skill_id": NEW}),
    "shared_skill_name_is_unique": ("shared_skill", {"skill_id": NEW}),
    "skill_risk_is_known": ("skill", {"risk": "unheard of"}),
    "skill_approver_has_a_role": (
        "skill",
        {"skill_id": NEW, "name": "x", "approver_role": "nobody"},
    ),
    "risk_policy_pkey": ("risk_policy", {}),
    "risk_policy_is_of_a_role": ("risk_policy", {"role_name": "nobody"}),
    "risk_policy_risk_is_known": ("risk_policy", {"risk": "unheard of"}),
    "risk_policy_approval_is_known": ("risk_policy", {"approval": "maybe"}),
    "role_skill_limits_are_a_schema": ("role_skill", {"limits": []}),
    "http_endpoint_pkey": ("http_endpoint", {}),
    "http_endpoint_belongs_to_a_skill": ("http_endpoint", {"skill_id": NEW}),
    "http_endpoint_method_is_known": ("http_endpoint", {"method": "TRACE"}),
    "http_endpoint_has_both_method_and_url": ("http_endpoint", {"url_template": None}),
    "http_endpoint_url_has_a_fixed_host": (
        "http_endpoint",
        {"url_template": "https://{host}.example.com/"},
    ),
    "http_endpoint_headers_are_an_object": ("http_endpoint", {"headers": []}),
    "http_endpoint_body_needs_a_method_that_has_one": ("http_endpoint", {"body_template": {}}),
    "http_endpoint_timeout_is_between_0_and_300_seconds": (
        "http_endpoint",
        {"timeout_seconds": 0},
    ),
    "http_endpoint_response_has_at_most_16_mebibytes": (
        "http_endpoint",
        {"max_response_bytes": 16777217},
    ),
    "http_endpoint_redirects_are_at_most_10": ("http_endpoint", {"max_redirects": 11}),
    "http_host_pkey": ("http_host", {}),
    "http_host_is_listed_once": ("http_host", {"host_id": NEW}),
    "http_host_belongs_to_a_tenant": ("http_host", {"host_id": NEW, "tenant_id": NEW}),
    "http_host_is_for_a_skill": ("http_host", {"host_id": NEW, "skill_id": NEW}),
    "http_host_scheme_is_known": ("http_host", {"scheme": "ftp"}),
    "http_host_port_is_between_1_and_65535": ("http_host", {"port": 0}),
    "http_host_is_a_name_or_an_address": ("http_host", {"host": "0x7f.1"}),
    "role_skill_pkey": ("role_skill", {}),
    "role_skill_names_a_role": ("role_skill", {"role_name": "nobody"}),
    "role_skill_names_a_skill": ("role_skill", {"skill_id": NEW}),
    "role_skill_approval_is_known": ("role_skill", {"approval": "maybe"}),
    # aos_core
    "run_pkey": ("run", {}),
    "run_is_the_only_one_of_its_number": ("run", {"run_id": NEW}),
    "run_pins_a_persona_version": (
        "run",
        {"run_id": NEW, "turn_no": 99, "persona_version_id": NEW},
    ),
    "run_belongs_to_a_conversation": ("run", {"run_id": NEW, "conversation_id": NEW}),
    "run_status_is_known": ("run", {"status": "bored"}),
    "run_runner_is_known": ("run", {"runner": "auto"}),
    "finished_runs_have_a_finish_time": ("run", {"status": "completed"}),
    "failed_runs_have_an_error": ("run", {"status": "failed", "finished_at": NOW}),
    "run_counts_are_not_negative": ("run", {"output_tokens": -1}),
    "cached_tokens_of_a_run_are_part_of_its_input": ("run", {"cached_tokens": 1}),
    "step_pkey": ("model_step", {}),
    "step_is_the_only_one_of_its_number": ("model_step", {"step_id": NEW}),
    "step_belongs_to_a_run": ("model_step", {"step_id": NEW, "run_id": NEW}),
    # an orphan: the result of a call that no model asked for
    "tool_step_belongs_to_the_model_step_that_asked_for_it": (
        "tool_step",
        {"step_id": NEW, "step_no": 99, "model_step_no": 98, "call_id": "orphan"},
    ),
    "step_answers_a_call_once": ("tool_step", {"step_id": NEW, "step_no": 99}),
    "step_kind_is_known": ("model_step", {"kind": "dream"}),
    "step_status_is_known": ("model_step", {"status": "bored"}),
    "steps_end_with_a_finish_time": ("model_step", {"finished_at": None}),
    "tool_steps_name_their_call": ("tool_step", {"call_id": None}),
    "model_steps_call_no_tool": ("model_step", {"tool_name": "x"}),
    "only_tool_calls_wait_for_a_person": (
        "model_step",
        {"status": "awaiting_approval", "finished_at": None},
    ),
    "tool_step_follows_its_model_step": ("tool_step", {"model_step_no": 99}),
    "finished_tool_steps_have_a_result": ("tool_step", {"status": "failed", "message": None}),
    "completed_steps_have_a_message": ("model_step", {"message": None}),
    "step_message_has_the_role_of_its_kind": ("tool_step", {"message": {"role": "user"}}),
    "approval_pkey": ("approval", {}),
    "approval_is_about_a_step": ("approval", {"step_id": NEW}),
    "approval_decision_is_known": (
        "approval",
        {"decision": "maybe", "decided_at": NOW, "decided_by": "me"},
    ),
    "approval_is_decided_as_a_whole": ("approval", {"decision": "approved"}),
    "approval_expires_after_it_was_requested": ("approval", {"expires_at": "2000-01-01"}),
    "cancel_request_pkey": ("cancel_request", {}),
    "cancel_request_is_about_a_run": ("cancel_request", {"run_id": NEW}),
    "queue_pkey": ("queue", {}),
    "queue_is_of_turns": ("queue", {"run_id": NEW}),
    "queue_counts_are_not_negative": ("queue", {"attempt": -1}),
    "queue_claims_are_whole": ("queue", {"lease_until": None}),
    "dead_letters_are_claimed_by_nobody": ("queue", {"died_at": NOW, "error": {}}),
    "dead_letters_have_a_reason": ("queue", {"died_at": NOW, **UNCLAIMED}),
    "queue_lane_pkey": ("queue_lane", {}),
    "queue_lane_belongs_to_a_tenant": ("queue_lane", {"lane_id": NEW, "tenant_id": NEW}),
    "queue_lane_is_of_waiting_turns_or_of_claims": ("queue_lane", {"priority": 0}),
    "dedup_key_pkey": ("dedup_key", {}),
    "dedup_key_is_of_a_turn": ("dedup_key", {"dedup_key": "x", "run_id": NEW}),
    "dedup_key_is_not_empty": ("dedup_key", {"dedup_key": ""}),
    "rate_bucket_pkey": ("rate_bucket", {}),
    "event_type_is_not_empty": ("event_log", {"event_type": ""}),
    "event_head_pkey": ("event_head", {}),
    "event_seal_pkey": ("event_seal", {}),
    "event_seal_kind_is_known": ("event_seal", {"kind": "wax"}),
    "event_seal_lists_whole_heads": ("event_seal", {"chain_ids": []}),
    "event_seals_know_their_snapshot": ("event_seal", {"oldest_open": None}),
    "event_log_cuts_have_a_time": ("event_seal", {"up_to": NOW}),
    "session_memory_pkey": ("session_memory", {}),
    "session_memory_key_is_unique_in_its_conversation": ("session_memory", {"memory_id": NEW}),
    "session_memory_key_is_not_empty": ("session_memory", {"key": ""}),
    "embeddings_name_their_model": ("session_memory", {"embedding_model": "x"}),
    "session_memory_belongs_to_a_conversation": (
        "session_memory",
        {"memory_id": NEW, "conversation_id": NEW},
    ),
    # aos_agent
    "agent_pkey": ("agent", {}),
    "agent_name_is_unique_in_its_tenant": ("agent", {"agent_id": NEW}),
    "agent_name_is_not_empty": ("agent", {"agent_id": NEW, "name": ""}),
    "agent_belongs_to_a_tenant": ("agent", {"agent_id": NEW, "tenant_id": NEW}),
    "agent_has_a_persona": ("agent", {"agent_id": NEW, "name": "x", "persona_id": NEW}),
    "agent_has_a_role": ("agent", {"agent_id": NEW, "name": "x", "role_name": "nobody"}),
    "agent_has_a_registered_db_role": (
        "agent",
        {"agent_id": NEW, "name": "x", "db_role": "nobody"},
    ),
    "agent_runner_is_known": ("agent", {"runner": "horse"}),
    "agent_limits_are_positive": ("agent", {"max_turn_tokens": 0}),
    "agent_skill_pkey": ("agent_skill", {}),
    "agent_skill_names_an_agent": ("agent_skill", {"agent_id": NEW}),
    "agent_skill_names_a_skill": ("agent_skill", {"skill_id": NEW}),
    "agent_skill_limits_are_a_schema": ("agent_skill", {"limits": []}),
    "agent_skill_approval_is_known": ("agent_skill", {"approval": "maybe"}),
    "conversation_pkey": ("conversation", {}),
    "conversation_has_an_agent": ("conversation", {"conversation_id": NEW, "agent_id": NEW}),
    "conversation_has_a_principal": (
        "conversation",
        {"conversation_id": NEW, "principal_id": NEW},
    ),
    "message_pkey": ("message", {}),
    "message_belongs_to_a_conversation": (
        "message",
        {"message_id": NEW, "conversation_id": NEW},
    ),
    "message_belongs_to_a_turn": ("message", {"message_id": NEW, "run_id": NEW}),
    "message_is_not_empty": ("message", {"content": ""}),
    "sql_access_pkey": ("sql_access", {}),
    "sql_access_to_a_table_is_one": ("sql_access", {"sql_access_id": NEW}),
    "sql_access_to_a_schema_is_one": ("sql_schema_access", {"sql_access_id": NEW}),
    "sql_access_is_of_an_agent": ("sql_access", {"sql_access_id": NEW, "agent_id": NEW}),
    "sql_access_is_not_to_the_system": ("sql_access", {"schema_name": "pg_catalog"}),
    "sql_access_to_columns_names_a_table": ("sql_access", {"columns": []}),
    "sql_function_access_pkey": ("sql_function_access", {}),
    "sql_function_access_names_schema_and_arguments": (
        "sql_function_access",
        {"function_name": "now()"},
    ),
    "budget_pkey": ("budget", {}),
    "budget_is_the_only_one_of_its_scope": ("budget", {"budget_id": NEW}),
    "budget_belongs_to_a_tenant": ("budget", {"budget_id": NEW, "tenant_id": NEW}),
    "budget_names_an_agent": ("budget", {"budget_id": NEW, "agent_id": NEW}),
    "budget_names_a_conversation": ("budget", {"budget_id": NEW, "conversation_id": NEW}),
    "budget_has_one_scope": ("budget", {"agent_id": NEW, "conversation_id": NEW}),
    "budget_period_is_known": ("budget", {"period": "year"}),
    "only_conversations_have_a_budget_in_total": ("budget", {"period": "total"}),
    "budget_limits_something": ("budget", {"max_tokens": None}),
    "budget_is_not_negative": ("budget", {"max_tokens": -1}),
    "schedule_pkey": ("schedule", {}),
    "schedule_name_is_unique_in_its_tenant": ("schedule", {"schedule_id": NEW}),
    "schedule_name_is_not_empty": ("schedule", {"name": ""}),
    "schedule_is_of_an_agent": ("schedule", {"schedule_id": NEW, "name": "x", "agent_id": NEW}),
    "schedule_is_a_principals": (
        "schedule",
        {"schedule_id": NEW, "name": "x", "principal_id": NEW},
    ),
    "schedule_says_something": ("schedule", {"content": ""}),
    "schedule_conversation_is_known": ("schedule", {"conversation": "old"}),
    "schedule_on_missed_is_known": ("schedule", {"on_missed": "twice"}),
    "schedule_priority_fits_the_queue": ("schedule", {"priority": 40000}),
    "schedule_last_status_is_known": ("schedule", {"last_status": "bored", "last_at": NOW}),
    "schedule_outcome_has_a_time": ("schedule", {"last_at": NOW}),
    "schedule_says_why_it_did_not_run": ("schedule", {"last_status": "skipped", "last_at": NOW}),
    "schedule_run_pkey": ("schedule_run", {}),
    "schedule_runs_once_at_a_moment": ("schedule_run", {"run_id": NEW}),
    "schedule_run_is_a_turn": ("schedule_run", {"run_id": NEW, "scheduled_for": "2026-01-02"}),
    "schedule_run_belongs_to_a_schedule": ("schedule_run", {"schedule_id": NEW, "run_id": NEW}),
    "usage_pkey": ("usage", {}),
    "usage_belongs_to_a_tenant": ("usage", {"usage_id": NEW, "tenant_id": NEW}),
}

#: row -> (its table, how to find it among the rows of tenant %(t)s)
ROWS = {
    "tenant": ("aos_auth.tenant", "tenant_id = %(t)s"),
    "role": ("aos_auth.role", "role_name = 'constrained'"),
    "principal": ("aos_auth.principal", "tenant_id = %(t)s"),
    "role_grant": ("aos_auth.role_grant", "tenant_id = %(t)s"),
    "ticket_key": ("aos_auth.ticket_key", "key_id = 'constrained'"),
    "agent_role": ("aos_auth.agent_role", "tenant_id = %(t)s"),
    "secret": ("aos_meta.secret", "tenant_id = %(t)s"),
    "shared_secret": ("aos_meta.secret", "tenant_id is null"),
    "secret_grant": ("aos_meta.secret_grant", "tenant_id = %(t)s"),
    "setting": ("aos_meta.setting", "name = 'max_model_calls'"),
    "provider": ("aos_meta.provider", "provider = 'openai'"),
    "model": ("aos_meta.llm_model_registry", "model_name = 'gpt-4o'"),
    "persona": ("aos_persona.persona", "tenant_id = %(t)s"),
    "persona_version": ("aos_persona.persona_version", "tenant_id = %(t)s"),
    "skill": ("aos_skills.skill", "tenant_id = %(t)s"),
    "shared_skill": ("aos_skills.skill", "name = 'web_search' and tenant_id is null"),
    "http_endpoint": ("aos_skills.http_endpoint", "tenant_id = %(t)s"),
    "http_host": ("aos_skills.http_host", "tenant_id = %(t)s"),
    "risk_policy": ("aos_skills.risk_policy", "role_name = 'constrained'"),
    "role_skill": ("aos_skills.role_skill", "role_name = 'agent'"),
    "run": ("aos_core.run", "tenant_id = %(t)s"),
    "model_step": ("aos_core.step", "tenant_id = %(t)s and step_no = 1"),
    "tool_step": ("aos_core.step", "tenant_id = %(t)s and step_no = 2"),
    "approval": ("aos_core.approval", "tenant_id = %(t)s"),
    "cancel_request": ("aos_core.cancel_request", "tenant_id = %(t)s"),
    "queue": ("aos_core.queue", "tenant_id = %(t)s"),
    "queue_lane": ("aos_core.queue_lane", "tenant_id = %(t)s and runner is null"),
    "dedup_key": ("aos_core.dedup_key", "tenant_id = %(t)s"),
    "rate_bucket": ("aos_core.rate_bucket", "scope = 'tenant'"),
    "event_log": ("aos_core.event_log", "tenant_id = %(t)s"),
    "sql_access": ("aos_agent.sql_access", "tenant_id = %(t)s and table_name is not null"),
    "sql_schema_access": ("aos_agent.sql_access", "tenant_id = %(t)s and table_name is null"),
    "sql_function_access": (
        "aos_agent.sql_function_access",
        "function_name = 'constrained.net_price(numeric)'",
    ),
    "event_head": ("aos_core.event_head", "tenant_id = %(t)s"),
    "event_seal": ("aos_core.event_seal", "tenant_id = %(t)s"),
    "session_memory": ("aos_core.session_memory", "tenant_id = %(t)s"),
    "agent": ("aos_agent.agent", "tenant_id = %(t)s"),
    "agent_skill": ("aos_agent.agent_skill", "tenant_id = %(t)s"),
    "conversation": ("aos_agent.conversation", "tenant_id = %(t)s"),
    "message": ("aos_agent.message", "tenant_id = %(t)s"),
    "budget": ("aos_agent.budget", "tenant_id = %(t)s"),
    "usage": ("aos_agent.usage", "tenant_id = %(t)s"),
    "schedule": ("aos_agent.schedule", "tenant_id = %(t)s"),
    "schedule_run": ("aos_agent.schedule_run", "tenant_id = %(t)s"),
}


@pytest.fixture(scope="module")
def tenant(database: Database) -> UUID:
    """A tenant with a row in every table."""
    with database.connect() as connection:
        house = House(connection)
        tenant = house.tenant()
        house.insert("aos_auth.role", role_name="constrained")
        principal = house.insert(
            "aos_auth.principal", "principal_id", tenant_id=tenant, db_role="me", external_id="me"
        )
        house.insert(
            "aos_auth.role_grant", tenant_id=tenant, principal_id=principal, role_name="constrained"
        )
        house.insert("aos_auth.agent_role", tenant_id=tenant, db_role="some_role")
        house.insert(
            "aos_auth.ticket_key", key_id="constrained", ciphertext=b"sealed", master_key_id="k1"
        )
        for owner in (tenant, None):
            secret = house.insert(
                "aos_meta.secret",
                "secret_id",
                tenant_id=owner,
                name="constrained",
                ciphertext=b"sealed",
                key_id="k1",
            )
        house.insert("aos_meta.secret_grant", tenant_id=tenant, secret_id=secret)
        house.insert("aos_skills.risk_policy", role_name="constrained", risk="high", approval="ask")
        service = house.skill(implementation="http", tenant_id=tenant)
        house.rows(
            "insert into aos_skills.http_endpoint (skill_id, method, url_template)"
            " select skill_id, 'GET', 'https://example.com/{id}' from aos_skills.skill"
            " where name = %s",
            service,
        )
        house.insert("aos_skills.http_host", tenant_id=tenant, host="example.com")
        agent = house.agent(tenant)
        for table in ("product", None):
            house.insert(
                "aos_agent.sql_access",
                tenant_id=tenant,
                agent_id=agent.agent_id,
                schema_name="shop",
                table_name=table,
            )
        house.insert(
            "aos_agent.sql_function_access", function_name="constrained.net_price(numeric)"
        )
        free = house.skill(agent, tenant_id=tenant)
        turn = house.turn(agent)
        house.tool(turn, free)
        house.result(turn, free)
        house.rows("update aos_skills.skill set approval = 'ask' where tenant_id = %s", tenant)
        house.tool(turn, free)
        conversation = house.one("select conversation_id from aos_core.run where run_id = %s", turn)
        house.insert("aos_core.cancel_request", run_id=turn, tenant_id=tenant)
        house.call("aos_core._claim_turn", turn, "worker", "1 hour", False, False)
        house.insert(
            "aos_core.dedup_key", tenant_id=tenant, dedup_key="k", run_id=turn, created_at=NOW
        )
        house.call("aos_core._set_bucket", "tenant", str(tenant), 1, 1, NOW)
        house.insert("aos_agent.budget", tenant_id=tenant, period="day", max_tokens=5)
        house.insert(
            "aos_agent.usage",
            tenant_id=tenant,
            agent_id=agent.agent_id,
            day="2026-01-01",
            tokens=1,
            cost=0,
        )
        schedule = house.insert(
            "aos_agent.schedule",
            "schedule_id",
            tenant_id=tenant,
            agent_id=agent.agent_id,
            principal_id=principal,
            name="constrained",
            cron_expression="@daily",
            content="hello",
        )
        house.insert(
            "aos_agent.schedule_run",
            tenant_id=tenant,
            schedule_id=schedule,
            run_id=turn,
            scheduled_for=NOW,
        )
        house.rows("select aos_core._log(%s, null, null, 'something_happened')", tenant)
        house.rows("select aos_core.seal_event_log()")
        house.insert(
            "aos_core.session_memory",
            tenant_id=tenant,
            conversation_id=conversation,
            key="k",
            content="c",
        )
    return tenant


def store_copy(
    connection: psycopg.Connection, row: str, tenant: UUID, changes: dict[str, Any]
) -> int:
    """Insert a copy of a row with these changes; return how many rows were copied."""
    table, where = ROWS[row]
    with connection.transaction(force_rollback=True):
        cursor = connection.execute(
            f"insert into {table} overriding system value"
            " select (jsonb_populate_record(t, %(changes)s)).* from"
            f" {table} as t where {where} limit 1",
            {"t": tenant, "changes": Jsonb(changes)},
        )
        connection.execute("set constraints all immediate")
        return cursor.rowcount


@pytest.mark.parametrize("constraint", CASES)
def test_a_row_that_may_not_be_is_refused_by_name(
    house: House, tenant: UUID, constraint: str
) -> None:
    row, changes = CASES[constraint]
    with pytest.raises(psycopg.IntegrityError) as caught:
        store_copy(house.connection, row, tenant, changes)
    assert caught.value.diag.constraint_name == constraint


def test_every_constraint_is_among_the_cases(house: House) -> None:
    found = house.rows(
        "select c.conname from pg_constraint c join pg_namespace n on n.oid = c.connamespace"
        " where n.nspname like 'aos\\_%' and c.contype in ('c', 'f', 'p', 'u', 'x')"
        " and n.nspname <> 'aos_sandbox'"  # its domains have tests of their own
        " union select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid"
        " join pg_namespace n on n.oid = c.relnamespace where"
        " n.nspname like 'aos\\_%' and i.indisunique"
    )
    assert {name for (name,) in found} == set(CASES)


@pytest.mark.parametrize(
    ("row", "column", "constraint"),
    [
        ("agent", "persona_id", "agent_has_a_persona"),
        ("conversation", "agent_id", "conversation_has_an_agent"),
        ("conversation", "principal_id", "conversation_has_a_principal"),
        ("message", "conversation_id", "message_belongs_to_a_conversation"),
        ("message", "run_id", "message_belongs_to_a_turn"),
        ("run", "conversation_id", "run_belongs_to_a_conversation"),
        ("run", "persona_version_id", "run_pins_a_persona_version"),
        ("step", "run_id", "step_belongs_to_a_run"),
        ("approval", "step_id", "approval_is_about_a_step"),
        ("session_memory", "conversation_id", "session_memory_belongs_to_a_conversation"),
        ("role_grant", "principal_id", "role_grant_names_a_principal"),
        ("agent_skill", "agent_id", "agent_skill_names_an_agent"),
        ("agent", "db_role", "agent_has_a_registered_db_role"),
        ("schedule", "agent_id", "schedule_is_of_an_agent"),
        ("schedule", "principal_id", "schedule_is_a_principals"),
        ("schedule_run", "run_id", "schedule_run_is_a_turn"),
        ("budget", "agent_id", "budget_names_an_agent"),
        ("budget", "conversation_id", "budget_names_a_conversation"),
    ],
)
def test_a_row_cannot_refer_to_another_tenants_row(
    house: House, tenant: UUID, row: str, column: str, constraint: str
) -> None:
    other = house.agent()
    skill = house.skill(other, approval="ask")
    turn = house.turn(other)
    step = house.tool(turn, skill)["step_id"]
    house.insert("aos_auth.agent_role", tenant_id=other.tenant_id, db_role="their_role")
    foreign = {
        "db_role": "their_role",
        "persona_id": other.persona_id,
        "agent_id": other.agent_id,
        "conversation_id": house.one(
            "select conversation_id from aos_core.run where run_id = %s", turn
        ),
        "run_id": turn,
        "step_id": step,
        "principal_id": house.insert(
            "aos_auth.principal", "principal_id", tenant_id=other.tenant_id
        ),
        "persona_version_id": house.one(
            "select persona_version_id from aos_core.run where run_id = %s", turn
        ),
    }
    keys = {
        "agent": {"agent_id": NEW, "name": "x"},
        "conversation": {"conversation_id": NEW},
        "message": {"message_id": NEW},
        "run": {"run_id": NEW, "turn_no": 99},
        "step": {"step_id": NEW, "step_no": 99},
        "session_memory": {"memory_id": NEW},
        "budget": {"budget_id": NEW},
        "schedule": {"schedule_id": NEW, "name": "x"},
        "schedule_run": {"scheduled_for": "2026-01-02"},
    }.get(row, {})
    with pytest.raises(psycopg.errors.ForeignKeyViolation) as caught:
        store_copy(
            house.connection,
            "model_step" if row == "step" else row,
            tenant,
            {**keys, column: str(foreign[column])},
        )
    assert caught.value.diag.constraint_name == constraint
