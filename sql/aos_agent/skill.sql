create view aos_agent.effective_skill as
    select distinct on (g.agent_id, g.tenant_id, s.name)
           g.agent_id, g.tenant_id, s.skill_id, s.name, s.description, s.parameters, s.implementation, s.function_name,
           coalesce(g.approval, s.approval) as approval,
           case coalesce(g.approval, s.approval)
                when 'never' then 'denied'
                when 'ask' then 'awaiting_approval'
                else case s.implementation when 'external' then 'awaiting_result' else 'run' end end as on_call
      from (select k.agent_id, k.tenant_id, k.skill_id, k.approval
              from aos_agent.agent_skill as k
            union all
            select a.agent_id, a.tenant_id, k.skill_id, k.approval
              from aos_agent.agent as a
              join aos_skills.role_skill as k on k.role_name = a.role_name
             where not exists (select from aos_agent.agent_skill as own where own.agent_id = a.agent_id and own.tenant_id = a.tenant_id)) as g
      join aos_skills.skill as s on s.skill_id = g.skill_id
     where s.is_active and (s.tenant_id is null or s.tenant_id = g.tenant_id)
     order by g.agent_id, g.tenant_id, s.name, s.tenant_id;  -- a tenant's own skill hides a shared one of the same name
comment on view aos_agent.effective_skill is
    'What each agent can use: its own skills, or its role''s when it has none of its own; the approval that holds for it, and what happens when its model calls it.';
comment on column aos_agent.effective_skill.on_call is
    'run: at once, in the database. awaiting_result: an outside worker runs it. awaiting_approval: a person decides. denied: it is refused.';

create function aos_agent._agent(agent_name text) returns aos_agent.agent
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_agent aos_agent.agent;
begin
    select a.* into strict v_agent from aos_agent.agent as a where a.name = _agent.agent_name;
    return v_agent;
exception
    when no_data_found then
        raise exception using errcode = 'OS002', message = format('there is no agent %L', _agent.agent_name),
            hint = 'SELECT name FROM aos_agent.agent lists the agents.';
    when too_many_rows then
        raise exception using errcode = 'OS001', message = format('several tenants have an agent %L', _agent.agent_name),
            hint = 'Open a conversation of the right tenant''s agent and pass conversation_id.';
end
$$;
comment on function aos_agent._agent(text) is 'The agent of that name; an error when there is none, or one in several tenants.';

create function aos_agent.grant_skill(agent_name text, skill_name text, approval text default null) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_agent aos_agent.agent := aos_agent._agent(grant_skill.agent_name);
    v_skill_id uuid;
begin
    select s.skill_id into v_skill_id
      from aos_skills.skill as s
     where s.name = grant_skill.skill_name and (s.tenant_id is null or s.tenant_id = v_agent.tenant_id)
     order by s.tenant_id is null  -- the tenant's own skill before a shared one of the same name
     limit 1;
    if v_skill_id is null then
        raise exception using errcode = 'OS002', message = format('there is no skill %L', grant_skill.skill_name),
            hint = 'Register it first: SELECT aos_skills.register_function(''my_function(int)''::regprocedure).';
    end if;
    insert into aos_agent.agent_skill as g (agent_id, tenant_id, skill_id, approval)
    values (v_agent.agent_id, v_agent.tenant_id, v_skill_id, grant_skill.approval)
    on conflict on constraint agent_skill_pkey do update set approval = excluded.approval;
end
$$;
comment on function aos_agent.grant_skill(text, text, text) is
    'Gives an agent a skill. From its first skill on it has only those it was given, no default ones. approval: auto, ask, never, or null for what the skill says.';

create function aos_agent.revoke_skill(agent_name text, skill_name text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_agent aos_agent.agent := aos_agent._agent(revoke_skill.agent_name);
begin
    delete from aos_agent.agent_skill as g using aos_skills.skill as s
     where g.agent_id = v_agent.agent_id and g.tenant_id = v_agent.tenant_id and s.skill_id = g.skill_id and s.name = revoke_skill.skill_name;
    if not found then
        raise exception using errcode = 'OS002',
            message = format('agent %L was not given a skill %L', revoke_skill.agent_name, revoke_skill.skill_name),
            hint = 'SELECT name FROM aos_agent.effective_skill lists what it has; skills of its role are changed in aos_skills.role_skill.';
    end if;
end
$$;
comment on function aos_agent.revoke_skill(text, text) is 'Takes back a skill that grant_skill gave. An agent left without any has the default skills of its role again.';
