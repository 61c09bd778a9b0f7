-- Nothing is for everybody: what CREATE FUNCTION gives to PUBLIC is taken back.
do $$
declare
    v_schema text;
begin
    foreach v_schema in array array['aos_auth', 'aos_meta', 'aos_persona', 'aos_skills', 'aos_core', 'aos_agent'] loop
        execute format('revoke all on all functions in schema %I from public', v_schema);
        execute format('revoke all on all tables in schema %I from public', v_schema);
    end loop;
end
$$;

-- The functions of the path of every turn. They are called only below functions that have pinned the search path; to
-- pin it again would cost a twentieth of a turn (bench/), because PostgreSQL looks the path up anew each time. Their
-- statements find rows by keys, for which one plan is as good as another: without this, a session would plan them anew
-- in each of its first five turns, at twice the cost of the turn itself.
alter function aos_agent._ask(text, text, uuid) reset search_path;
alter function aos_agent._start_turn(uuid, text, text) reset search_path;
alter function aos_agent._start_turn(uuid, text, text) set plan_cache_mode = force_generic_plan;
alter function aos_agent._read_turn(uuid) reset search_path;
alter function aos_agent._read_turn(uuid) set plan_cache_mode = force_generic_plan;
alter function aos_core._record(uuid, json, json, text, text, jsonb) reset search_path;
alter function aos_core._record(uuid, json, json, text, text, jsonb) set plan_cache_mode = force_generic_plan;
