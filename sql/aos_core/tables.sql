-- Ids that begin with the time (UUID version 7, RFC 9562 section 5.7): rows of one time lie together in their
-- index, which random ids would scatter. PostgreSQL has uuidv7() itself only from 18 on.
create function aos_core.new_id() returns uuid
    language sql volatile parallel safe
return encode(
    set_bit(set_bit(
        overlay(uuid_send(gen_random_uuid())
            placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
        52, 1), 53, 1), 'hex')::uuid;
comment on function aos_core.new_id() is 'A new identity that sorts by time (UUID version 7).';

-- Closed sets of words are domains: a session reads a domain's check once, a table's check anew for every statement,
-- which is a noticeable part of a short turn.
create domain aos_core.run_status as text
    constraint run_status_is_known check (value in
        ('queued', 'running', 'awaiting_model', 'awaiting_tool', 'awaiting_approval', 'completed', 'failed', 'cancelled'));
comment on domain aos_core.run_status is 'How a turn stands, see docs/state_machine.md.';

create domain aos_core.runner as text
    constraint run_runner_is_known check (value in ('database', 'external'));
comment on domain aos_core.runner is 'Who calls the model of a turn.';

create domain aos_core.counter as integer
    constraint run_counts_are_not_negative check (value >= 0);
comment on domain aos_core.counter is 'A number that is counted up from 0.';

create domain aos_core.step_kind as text
    constraint step_kind_is_known check (value in ('model', 'tool'));
comment on domain aos_core.step_kind is 'What a step is: a model call or a tool call.';

create domain aos_core.step_status as text
    constraint step_status_is_known check (value in
        ('pending', 'running', 'approved', 'awaiting_approval', 'awaiting_result', 'completed', 'failed', 'rejected', 'cancelled'));
comment on domain aos_core.step_status is 'How a step stands, see docs/state_machine.md.';

create table aos_core.run (
    run_id uuid not null default aos_core.new_id(),
    tenant_id uuid not null,
    conversation_id uuid not null,
    persona_version_id uuid not null,
    started_at timestamptz not null default now(),
    turn_no integer not null,
    runner aos_core.runner not null,
    finished_at timestamptz,
    model_calls aos_core.counter not null default 0,
    input_tokens aos_core.counter not null default 0,
    cached_tokens aos_core.counter not null default 0,
    output_tokens aos_core.counter not null default 0,
    transcript_bytes aos_core.counter not null default 0,
    event_no integer not null,
    event_hash bytea not null,
    status aos_core.run_status not null default 'queued',
    is_queued boolean not null default false,
    cost numeric,
    waiting_reason text,
    error jsonb,
    constraint run_pkey primary key (run_id, tenant_id),
    constraint run_is_the_only_one_of_its_number unique (conversation_id, turn_no, tenant_id),
    constraint run_pins_a_persona_version foreign key (persona_version_id, tenant_id)
        references aos_persona.persona_version (persona_version_id, tenant_id) deferrable initially deferred,
    constraint finished_runs_have_a_finish_time
        check ((status in ('completed', 'failed', 'cancelled')) = (finished_at is not null)),
    constraint failed_runs_have_an_error check ((status = 'failed') = (error is not null)),
    constraint cached_tokens_of_a_run_are_part_of_its_input check (cached_tokens <= input_tokens)
);
comment on table aos_core.run is 'A turn: from the messages it answers to its answer. turn_id is run_id. Its steps are in aos_core.step.';
comment on column aos_core.run.persona_version_id is 'The version of the persona that this turn keeps to its end.';
comment on column aos_core.run.turn_no is 'Number of the turn in its conversation, from 1.';
comment on column aos_core.run.input_tokens is 'Tokens of input of all model calls, cached ones included.';
comment on column aos_core.run.cached_tokens is 'The part of input_tokens that the vendor read from its cache.';
comment on column aos_core.run.transcript_bytes is 'Bytes of the messages of this turn in the neutral format: what it takes of a later prompt.';
comment on column aos_core.run.event_no is 'Number of the last entry of the conversation in aos_core.event_log, when this was its last turn.';
comment on column aos_core.run.event_hash is 'Hash of that entry.';
comment on column aos_core.run.is_queued is 'A worker drives it, or did: it has, or had, a row in aos_core.queue.';
comment on column aos_core.run.runner is 'database: run_turn calls the model here. external: an outside worker does.';
comment on column aos_core.run.cost is 'US dollars, from the prices in the registry; null: a model without a price.';
comment on column aos_core.run.waiting_reason is 'Why the turn waits for somebody outside.';
comment on column aos_core.run.error is 'What failed: {"sqlstate", "message", "hint", "kind"}.';

create table aos_core.step (
    step_id uuid not null default aos_core.new_id(),
    tenant_id uuid not null,
    run_id uuid not null,
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    step_no integer not null,
    model_step_no integer,
    input_tokens integer,
    cached_tokens integer,
    cache_write_tokens integer,
    output_tokens integer,
    reasoning_tokens integer,
    attempts integer,
    kind aos_core.step_kind not null,
    status aos_core.step_status not null,
    message json,
    model_id uuid,
    skill_id uuid,
    call_id text,
    tool_name text,
    arguments json,
    cost numeric,
    vendor json,
    error jsonb,
    constraint step_pkey primary key (step_id, tenant_id),
    constraint step_is_the_only_one_of_its_number unique (run_id, step_no, tenant_id),
    constraint step_belongs_to_a_run foreign key (run_id, tenant_id)
        references aos_core.run (run_id, tenant_id) on delete cascade,
    constraint tool_step_belongs_to_the_model_step_that_asked_for_it foreign key (run_id, model_step_no, tenant_id)
        references aos_core.step (run_id, step_no, tenant_id) on delete cascade,
    constraint steps_end_with_a_finish_time
        check ((status in ('completed', 'failed', 'rejected', 'cancelled')) = (finished_at is not null)),
    constraint tool_steps_name_their_call check (
        (kind = 'tool') = (model_step_no is not null and call_id is not null and tool_name is not null and arguments is not null)),
    constraint model_steps_call_no_tool check (kind = 'tool' or (model_step_no is null and call_id is null
        and tool_name is null and arguments is null and skill_id is null)),
    constraint only_tool_calls_wait_for_a_person check (kind = 'tool'
        or status not in ('approved', 'awaiting_approval', 'awaiting_result', 'rejected')),
    constraint tool_step_follows_its_model_step check (model_step_no < step_no),
    constraint finished_tool_steps_have_a_result check (kind = 'model' or (finished_at is not null) = (message is not null)),
    constraint completed_steps_have_a_message check (status <> 'completed' or message is not null),
    constraint step_message_has_the_role_of_its_kind check (message is null
        or (message ->> 'role') = case kind when 'model' then 'assistant' else 'tool' end)
);
create unique index step_answers_a_call_once on aos_core.step (run_id, call_id) where call_id is not null;
comment on table aos_core.step is 'One action of a turn: a model call with its reply, or a tool call with its result.';
comment on column aos_core.step.step_no is 'Number of the step in its turn, from 1: the order in which models see the messages.';
comment on column aos_core.step.model_step_no is 'Of a tool call: the model step that asked for it.';
comment on column aos_core.step.kind is 'model or tool.';
comment on column aos_core.step.status is 'pending, running, approved, awaiting_approval, awaiting_result, completed, failed, rejected or cancelled.';
comment on column aos_core.step.message is 'The message that this step added to the conversation, in the neutral format (docs/messages.md).';
comment on column aos_core.step.vendor is 'What the vendor must get back byte for byte: signatures, reasoning items.';
comment on column aos_core.step.model_id is 'Of a model step: the model that answered.';
comment on column aos_core.step.attempts is 'Of a model step: how many requests it took, 1 without a retry.';
comment on column aos_core.step.call_id is 'Of a tool call: its identity in the turn.';
comment on column aos_core.step.arguments is 'Of a tool call: the arguments as the model gave them.';
comment on column aos_core.step.cost is 'US dollars, from the prices in the registry; null: a model without a price.';
comment on column aos_core.step.error is 'What failed: {"sqlstate", "message", "hint", "kind"}.';

create table aos_core.approval (
    step_id uuid not null,
    tenant_id uuid not null,
    arguments_hash text not null,
    skill_hash text,
    requested_at timestamptz not null default now(),
    expires_at timestamptz not null,
    decision text,
    decided_at timestamptz,
    decided_by text,
    note text,
    constraint approval_pkey primary key (step_id, tenant_id),
    constraint approval_is_about_a_step foreign key (step_id, tenant_id)
        references aos_core.step (step_id, tenant_id) on delete cascade,
    constraint approval_decision_is_known check (decision in ('approved', 'rejected', 'expired', 'cancelled')),
    constraint approval_is_decided_as_a_whole check ((decision is null) = (decided_at is null) and (decision is null) = (decided_by is null)),
    constraint approval_expires_after_it_was_requested check (expires_at > requested_at)
);
comment on table aos_core.approval is 'A tool call that needs a person''s yes, and the decision.';
comment on column aos_core.approval.arguments_hash is 'SHA-256 of the arguments: what is approved is exactly this call.';
comment on column aos_core.approval.skill_hash is 'SHA-256 of the skill''s implementation and function when the yes was asked for: another function needs a yes of its own.';

create table aos_core.cancel_request (
    run_id uuid not null,
    tenant_id uuid not null,
    requested_at timestamptz not null default now(),
    requested_by text not null default session_user,
    constraint cancel_request_pkey primary key (run_id, tenant_id),
    constraint cancel_request_is_about_a_run foreign key (run_id, tenant_id)
        references aos_core.run (run_id, tenant_id) on delete cascade
);
comment on table aos_core.cancel_request is 'A wish to cancel a turn that another session is driving; it is honoured before the turn''s next step.';

-- It has no key: that a number is there once is what the chain proves, and two index entries would be a tenth of what a
-- turn writes. The index by time costs a turn nothing, because only a part of a partition that is full gets into it. The
-- partitioned table itself has none: pg_dump writes the monthly partitions, which are no members of the extension, as
-- tables that are attached before their indexes are made, and attaching would have made them already.
create table aos_core.event_log (
    created_at timestamptz not null default clock_timestamp(),
    event_no integer not null,
    chain_id uuid not null,
    tenant_id uuid not null,
    run_id uuid,
    event_type text not null,
    actor text not null default session_user,
    detail jsonb,
    hash bytea not null,
    constraint event_type_is_not_empty check (event_type <> '')
) partition by range (created_at);
comment on table aos_core.event_log is 'What happened, append-only. It refers to rows by id without foreign keys: it outlives them. Its entries are chained by hashes, see docs/audit.md.';
comment on column aos_core.event_log.event_no is 'Number of the entry in its chain, from 1 without gaps.';
comment on column aos_core.event_log.chain_id is 'The conversation; of what concerns no conversation the tenant; of what concerns no tenant the nil UUID.';
comment on column aos_core.event_log.event_type is 'turn_started, turn_completed, turn_failed, turn_cancelled, approval_requested, approval_decided, ...';
comment on column aos_core.event_log.actor is 'The database role of the session, and behind a slash the principal when it is known.';
comment on column aos_core.event_log.detail is 'Ids, counts and hashes; never content.';
comment on column aos_core.event_log.hash is 'SHA-256 of the hash of the entry before it in its chain and of this entry.';

create table aos_core.event_log_default partition of aos_core.event_log default;
comment on table aos_core.event_log_default is 'The entries of the months for which maintain_event_log() has made no partition.';
comment on column aos_core.event_log_default.detail is 'Ids, counts and hashes; never content.';
create index event_log_default_time on aos_core.event_log_default using brin (created_at) with (pages_per_range = 32, autosummarize = on);
select brin_desummarize_range('aos_core.event_log_default_time', 0);

create table aos_core.event_head (
    tenant_id uuid not null,
    event_no integer not null default 0,
    event_hash bytea not null default '',
    constraint event_head_pkey primary key (tenant_id)
);
comment on table aos_core.event_head is 'The last entry of each chain of aos_core.event_log that belongs to no conversation. That of a conversation is in its latest run.';
comment on column aos_core.event_head.tenant_id is 'The chain: a tenant, or the nil UUID for what concerns no tenant.';

create table aos_core.event_seal (
    tenant_id uuid not null,
    seal_no integer not null,
    sealed_at timestamptz not null,
    kind text not null,
    up_to timestamptz,
    oldest_open xid8,
    next_xid xid8,
    chain_ids uuid[] not null,
    event_nos integer[] not null,
    hashes bytea[] not null,
    digest bytea not null,
    constraint event_seal_pkey primary key (tenant_id, seal_no),
    constraint event_seal_kind_is_known check (kind in ('seal', 'cut')),
    constraint event_seal_lists_whole_heads
        check (cardinality(chain_ids) = cardinality(event_nos) and cardinality(chain_ids) = cardinality(hashes)),
    constraint event_seals_know_their_snapshot check ((kind = 'seal') = (oldest_open is not null and next_xid is not null)),
    constraint event_log_cuts_have_a_time check ((kind = 'cut') = (up_to is not null))
);
create index event_seal_time on aos_core.event_seal (sealed_at);
comment on table aos_core.event_seal is 'The heads of the event log''s chains at a time, all under one digest, which is chained to the seal before. Append-only.';
comment on column aos_core.event_seal.seal_no is 'Number of the seal of its tenant, from 1 without gaps.';
comment on column aos_core.event_seal.kind is 'seal: heads that have moved since the seal before. cut: the last entries of a month that was dropped.';
comment on column aos_core.event_seal.up_to is 'Of a cut: the end of the month that was dropped.';
comment on column aos_core.event_seal.oldest_open is 'Of a seal: the oldest transaction that was open then; what it wrote is for a later seal.';
comment on column aos_core.event_seal.next_xid is 'Of a seal: the first transaction that had not begun then.';
comment on column aos_core.event_seal.chain_ids is 'The chains, with event_nos and hashes beside.';
comment on column aos_core.event_seal.digest is 'SHA-256 of the digest of the seal before, and of this seal.';

create table aos_core.session_memory (
    memory_id uuid not null default aos_core.new_id(),
    tenant_id uuid not null,
    conversation_id uuid not null,
    key text not null,
    content text not null,
    embedding_model text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint session_memory_pkey primary key (memory_id, tenant_id),
    constraint session_memory_key_is_unique_in_its_conversation unique (conversation_id, key, tenant_id),
    constraint session_memory_key_is_not_empty check (key <> '')
);
-- pgvector lives in the schema that its CREATE EXTENSION chose.
do $$
begin
    execute (select format('alter table aos_core.session_memory add column embedding %I.vector', n.nspname)
               from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace where e.extname = 'vector');
end
$$;
alter table aos_core.session_memory
    add constraint embeddings_name_their_model check ((embedding is null) = (embedding_model is null));
comment on table aos_core.session_memory is 'What an agent chose to remember in a conversation.';
comment on column aos_core.session_memory.embedding is 'The content as a vector, when an embedding model is set.';

select pg_catalog.pg_extension_config_dump('aos_core.run', '');
select pg_catalog.pg_extension_config_dump('aos_core.step', '');
select pg_catalog.pg_extension_config_dump('aos_core.approval', '');
select pg_catalog.pg_extension_config_dump('aos_core.cancel_request', '');
select pg_catalog.pg_extension_config_dump('aos_core.event_log_default', '');
select pg_catalog.pg_extension_config_dump('aos_core.event_head', '');
select pg_catalog.pg_extension_config_dump('aos_core.event_seal', '');
select pg_catalog.pg_extension_config_dump('aos_core.session_memory', '');
