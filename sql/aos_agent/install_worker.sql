-- What pg_cron has is named in texts only: it need not be there. Its jobs belong to whoever makes them and log in as him,
-- so these functions have the caller's rights.

create function aos_agent._add_cron_job(job_name text, schedule text, command text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_home text;
begin
    if not exists (select from pg_extension as e where e.extname = 'pg_cron') then
        begin
            v_home := current_setting('cron.database_name', true);
        exception when insufficient_privilege then  -- only members of pg_read_all_settings are told
            v_home := '';
        end;
        if v_home is null then
            raise exception using errcode = 'OS901', message = 'pg_cron is not loaded in this server',
                hint = format('Add pg_cron to shared_preload_libraries and cron.database_name = ''%s'', restart the server, then CREATE EXTENSION pg_cron here. docs/workers.md shows what does without it.', current_database());
        elsif v_home in (current_database(), '') then
            raise exception using errcode = 'OS901', message = 'pg_cron is not an extension of this database',
                hint = case v_home when '' then format('A superuser: CREATE EXTENSION pg_cron; if that is refused here, cron.database_name says where it is. There: SELECT cron.schedule_in_database(%L, %L, %L, %L, %L);',
                        _add_cron_job.job_name || ' of ' || current_database(), _add_cron_job.schedule, _add_cron_job.command, current_database(), current_user)
                    else 'A superuser: CREATE EXTENSION pg_cron;' end;
        else
            raise exception using errcode = 'OS901', message = format('pg_cron keeps its jobs in the database %I (cron.database_name)', v_home),
                hint = format('There, a superuser: SELECT cron.schedule_in_database(%L, %L, %L, %L, %L);',
                    _add_cron_job.job_name || ' of ' || current_database(), _add_cron_job.schedule, _add_cron_job.command, current_database(), current_user);
        end if;
    elsif not has_schema_privilege('cron', 'usage') then
        raise exception using errcode = 'insufficient_privilege', message = format('the role %I may not make jobs of pg_cron', current_user),
            hint = format('A superuser: GRANT USAGE ON SCHEMA cron TO %I;', current_user);
    elsif not (select r.rolcanlogin from pg_roles as r where r.rolname = current_user) then
        raise exception using errcode = 'OS001', message = format('the role %I cannot log in', current_user),
            detail = 'A job of pg_cron logs in as the role that made it.',
            hint = 'Make the jobs as a role with LOGIN that has the access worker or operator (aos_auth.grant_access).';
    elsif current_user = session_user and not pg_has_role('pgagentos_operator', 'usage') and aos_auth.tenant_id() is null then
        raise exception using errcode = 'insufficient_privilege', message = format('the role %I would find no turns: it is no principal''s and no operator', current_user),
            hint = 'An operator makes it the db_role of a principal (aos_auth.principal), whose tenant''s turns it then drives.';
    end if;
    execute 'select cron.schedule($1, $2, $3)' using _add_cron_job.job_name, _add_cron_job.schedule, _add_cron_job.command;
end
$$;
comment on function aos_agent._add_cron_job(text, text, text) is
    'Makes or changes a job of pg_cron of this name that belongs to the caller; an error with a hint when it could not work.';

create function aos_agent._cron_jobs(job_names text) returns table (job_id bigint, job_name text, schedule text, command text)
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from pg_extension as e join pg_namespace as n on n.nspname = 'cron'
                where e.extname = 'pg_cron' and has_schema_privilege(n.oid, 'usage')) then
        return query execute 'select j.jobid, j.jobname::text, j.schedule, j.command from cron.job as j
            where j.jobname ~ $1 and j.database = current_database() and j.username = current_user order by j.jobid'
            using _cron_jobs.job_names;
    end if;
end
$$;
comment on function aos_agent._cron_jobs(text) is 'The jobs of pg_cron of the caller and for this database whose name fits a regular expression.';

create function aos_agent._drop_cron_jobs(job_ids bigint[]) returns integer
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_job_id bigint;
begin
    foreach v_job_id in array job_ids loop
        execute 'select cron.unschedule($1)' using v_job_id;
    end loop;
    return cardinality(job_ids);
end
$$;
comment on function aos_agent._drop_cron_jobs(bigint[]) is 'Takes away jobs of pg_cron; returns how many.';

create function aos_agent.install_worker(n integer default 1, max_seconds integer default 55, concurrency integer default 64)
    returns table (job_id bigint, job_name text, schedule text, command text)
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_limit text;
    v_job record;
begin
    if (install_worker.n between 1 and 100) is not true then
        raise exception using errcode = 'OS001', message = 'there are 1 to 100 workers',
            hint = 'One drives hundreds of turns at a time. SELECT aos_agent.uninstall_worker() takes them away.';
    elsif (install_worker.max_seconds between 1 and 59) is not true then
        raise exception using errcode = 'OS001', message = 'max_seconds is a number from 1 to 59',
            detail = 'pg_cron starts a job each minute. While it runs, further starts wait in line and never end.',
            hint = 'Leave it out for 55.';
    elsif (install_worker.concurrency between 1 and 1000) is not true then
        raise exception using errcode = 'OS001', message = 'concurrency is a number from 1 to 1000',
            hint = 'So many turns one worker drives at a time; leave it out for 64.';
    end if;
    for v_job in select i as number, format('CALL aos_agent.work(%s, %s)', install_worker.max_seconds, install_worker.concurrency) as command
                   from generate_series(1, install_worker.n) as i loop
        perform aos_agent._add_cron_job('pgagentos worker ' || v_job.number, '* * * * *', v_job.command);
    end loop;
    perform aos_agent._drop_cron_jobs(array(select j.job_id from aos_agent._cron_jobs('^pgagentos worker \d+$') as j
        where substring(j.job_name from '\d+$')::bigint > install_worker.n));
    -- The nearest one holds for a login: the role's in this database, the role's, the database's, the server's.
    select coalesce((select x.value from pg_db_role_setting as g, unnest(g.setconfig) as c (line),
                            lateral (select split_part(c.line, '=', 2) as value) as x
                      where c.line like 'statement_timeout=%' and g.setdatabase in (0, (select d.oid from pg_database as d where d.datname = current_database()))
                        and g.setrole in (0, (select r.oid from pg_roles as r where r.rolname = current_user))
                      order by g.setrole <> 0 desc, g.setdatabase <> 0 desc limit 1),
                    (select s.reset_val from pg_settings as s where s.name = 'statement_timeout'))
      into v_limit;
    if v_limit ~ '^\d+$' then
        v_limit := v_limit || ' ms';
    end if;
    if v_limit::interval > interval '0' and v_limit::interval <= make_interval(secs => install_worker.max_seconds + 5) then
        raise warning using message = format('statement_timeout ends the workers of %I after %s', current_user, v_limit),
            detail = 'It counts from the start of a CALL, and what the worker had in flight has to be done again.',
            hint = format('ALTER ROLE %I IN DATABASE %I SET statement_timeout = 0;', current_user, current_database());
    end if;
    return query select j.job_id, j.job_name, j.schedule, j.command from aos_agent._cron_jobs('^pgagentos worker \d+$') as j;
end
$$;
comment on function aos_agent.install_worker(integer, integer, integer) is
    'Lets pg_cron keep n workers going, in the name of the calling role: jobs that CALL aos_agent.work(max_seconds, concurrency) each minute. Called again it changes them. docs/workers.md says what else can do it.';

create function aos_agent.uninstall_worker() returns integer
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    return aos_agent._drop_cron_jobs(array(select j.job_id
        from aos_agent._cron_jobs('^pgagentos worker \d+$') as j));
end
$$;
comment on function aos_agent.uninstall_worker() is
    'Takes away the jobs that install_worker made for the calling role; a worker that runs goes on to its end. Returns how many there were.';

create function aos_agent.install_maintenance() returns table (job_id bigint, job_name text, schedule text, command text)
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_job record;
begin
    for v_job in select * from (values
            ('seal event log', '* * * * *', 'SELECT aos_core.seal_event_log()'),
            ('months of event log', '3 3 * * *', 'SELECT aos_core.maintain_event_log()'),
            ('retention', '*/10 * * * *', 'SELECT aos_agent.apply_retention()'),
            ('clean queue', '5-59/10 * * * *', 'SELECT aos_core.clean_queue()'),
            ('compact usage', '17 3 * * *', 'SELECT aos_agent.compact_usage()'),
            ('history of pg_cron', '29 3 * * *', 'DELETE FROM cron.job_run_details WHERE end_time < now() - interval ''7 days'' AND database = current_database()')
            ) as j (name, schedule, command) loop
        perform aos_agent._add_cron_job('pgagentos ' || v_job.name, v_job.schedule, v_job.command);
    end loop;
    return query select j.job_id, j.job_name, j.schedule, j.command
        from aos_agent._cron_jobs('^pgagentos (seal event log|months of event log|retention|clean queue|compact usage|history of pg_cron)$') as j;
end
$$;
comment on function aos_agent.install_maintenance() is
    'Lets pg_cron do what has to be done from time to time, in the name of the calling operator: seal the event log, make its months, apply retention, clean the queue, compact the usage, forget old runs of jobs. Called again it changes nothing.';

create function aos_agent.uninstall_maintenance() returns integer
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    return aos_agent._drop_cron_jobs(array(select j.job_id
        from aos_agent._cron_jobs('^pgagentos (seal event log|months of event log|retention|clean queue|compact usage|history of pg_cron)$') as j));
end
$$;
comment on function aos_agent.uninstall_maintenance() is 'Takes away the jobs that install_maintenance made for the calling role. Returns how many there were.';

grant execute on function aos_agent.install_worker(integer, integer, integer), aos_agent.uninstall_worker(), aos_agent._cron_jobs(text),
    aos_agent._add_cron_job(text, text, text), aos_agent._drop_cron_jobs(bigint[]) to pgagentos_worker, pgagentos_operator;
grant execute on function aos_agent.install_maintenance(), aos_agent.uninstall_maintenance() to pgagentos_operator;
