\echo Use "CREATE EXTENSION pgagentos CASCADE" to load this file. \quit

-- Names in this script mean PostgreSQL's own objects, whatever else is in the database.
set local search_path = pg_catalog, pg_temp;

-- The script refuses to build on a schema that somebody else made: CREATE SCHEMA without IF NOT EXISTS.
create schema aos_auth;
create schema aos_meta;
create schema aos_persona;
create schema aos_skills;
create schema aos_core;
create schema aos_agent;

comment on schema aos_auth is 'Who may: tenants, principals, roles.';
comment on schema aos_meta is 'The devices: model registry and providers.';
comment on schema aos_persona is 'Who an agent is: personas and their immutable versions.';
comment on schema aos_skills is 'What an agent can do: skills, their implementation and who may use them.';
comment on schema aos_core is 'The kernel: turns and steps as rows, event log, session memory.';
comment on schema aos_agent is 'The API that people call: agents, conversations, turns.';
