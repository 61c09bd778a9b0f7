\echo Use "CREATE EXTENSION pgagentos CASCADE" to load this file. \quit

-- Names in this script mean PostgreSQL's own objects, whatever else is in the database.
set local search_path = pg_catalog, pg_temp;

-- Models answer in Unicode: in another encoding an answer with one foreign character would be lost, with its turn.
do $$
begin
    if current_setting('server_encoding') <> 'UTF8' then
        raise exception using errcode = 'feature_not_supported',
            message = format('pgagentos needs a database in the encoding UTF8, this one has %s', current_setting('server_encoding')),
            hint = 'CREATE DATABASE name ENCODING ''UTF8'' TEMPLATE template0;';
    end if;
end
$$;

-- The script refuses to build on a schema that somebody else made: CREATE SCHEMA without IF NOT EXISTS.
create schema aos_auth;
create schema aos_meta;
create schema aos_persona;
create schema aos_skills;
create schema aos_sandbox;
create schema aos_core;
create schema aos_agent;

comment on schema aos_auth is 'Who may: tenants, principals, roles.';
comment on schema aos_meta is 'The devices: model registry and providers.';
comment on schema aos_persona is 'Who an agent is: personas and their immutable versions.';
comment on schema aos_skills is 'What an agent can do: skills, their implementation and who may use them.';
comment on schema aos_sandbox is 'What a model''s own SQL is judged and run with. Nothing here is for people to call.';
comment on schema aos_core is 'The kernel: turns and steps as rows, event log, session memory.';
comment on schema aos_agent is 'The API that people call: agents, conversations, turns.';
