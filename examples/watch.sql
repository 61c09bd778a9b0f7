-- Who is thinking now, once a second, until Ctrl-C:  psql -f examples/watch.sql mydb
-- In a psql session of your own the last line does the same.
\pset footer off
SELECT agent_name, driver, worker, step_no, kind, tool_name, step_seconds, turn_seconds, turn_id FROM aos_agent.live_activity ORDER BY step_since \watch 1
