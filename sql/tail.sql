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
