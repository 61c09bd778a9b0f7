"""Statements of the outside worker: those of docs/worker_protocol.md alone.

They are texts, because the worker sends them by asyncio, which no database backend knows.
"""

from __future__ import annotations

CLAIM = "select aos_agent.claim_turn($1::text, $2::interval)"
EXTEND = "select aos_agent.extend_claim($1::uuid, $2::bigint, $3::interval)"
RELEASE = "select aos_agent.release_turn($1::uuid, $2::bigint)"
RECORD_REPLY = "select aos_agent.record_model_reply($1::uuid, $2::jsonb, $3::jsonb, $4::bigint)"
RECORD_RESULT = (
    "select aos_agent.record_tool_result($1::uuid, $2::text, $3::jsonb, $4::text, $5::bigint,"
    " $6::boolean)"
)
#: Has the database call a service, for a call that must not be made twice: sent once only.
RUN_CALL = "select aos_agent.process_tool_call($1::uuid, $2::text, $3::jsonb, $4::text, $5::bigint)"
FAIL = "select aos_agent.fail_turn($1::uuid, $2::jsonb, $3::bigint)"
IS_CANCELLED = "select r.status = 'cancelled' from aos_core.run as r where r.run_id = $1::uuid"

#: A turn that an outside worker drives is waiting; the payload is ``external`` then.
QUEUE_CHANNEL = "pgagentos_queue"
#: A turn was cancelled; the payload is its id. Anybody can send that: look before believing it.
CANCEL_CHANNEL = "pgagentos_cancel"
LISTEN = (f"listen {QUEUE_CHANNEL}", f"listen {CANCEL_CHANNEL}")
