create view aos_agent.effective_skill as
    select distinct on (a.agent_id, a.tenant_id, s.name)
           a.agent_id, a.tenant_id, s.skill_id, s.name, s.description, s.parameters, s.implementation, s.function_name,
           coalesce(g.approval, p.approval, s.approval) as approval,
           case coalesce(g.approval, p.approval, s.approval)
                when 'never' then 'denied'
                when 'ask' then 'awaiting_approval'
                else case s.implementation when 'external' then 'awaiting_result' else 'run' end end as on_call,
           g.limits, s.needs_role
      from aos_agent.agent as a
      cross join lateral (
          select k.skill_id, k.approval, k.limits
            from aos_agent.agent_skill as k
           where k.agent_id = a.agent_id and k.tenant_id = a.tenant_id
          union all
          select k.skill_id, k.approval, k.limits
            from aos_skills.role_skill as k
           where k.role_name = a.role_name
             and not exists (select from aos_agent.agent_skill as own where own.agent_id = a.agent_id and own.tenant_id = a.tenant_id)) as g
      cross join lateral (
          select s.*
            from aos_skills.skill as s
           where s.skill_id = g.skill_id and s.is_active and (s.tenant_id is null or s.tenant_id = a.tenant_id)
          offset 0) as s  -- each by its key: the shared skills of an installation may be many
      left join aos_skills.risk_policy as p on p.role_name = a.role_name and p.risk = s.risk
     order by a.agent_id, a.tenant_id, s.name, s.tenant_id;  -- a tenant's own skill hides a shared one of the same name
comment on view aos_agent.effective_skill is
    'What each agent can use: its own skills, or its role''s when it has none of its own; the approval that holds for it, and what happens when its model calls it.';
comment on column aos_agent.effective_skill.on_call is
    'run: at once, in the database. awaiting_result: an outside worker runs it. awaiting_approval: a person decides. denied: it is refused.';
comment on column aos_agent.effective_skill.limits is 'What the arguments must fit besides the skill''s own schema.';
comment on column aos_agent.effective_skill.needs_role is 'True: only in conversations of a principal who has a role that is allowed it.';

create function aos_agent._role_skill(principal_id uuid, skill_id uuid) returns aos_skills.role_skill
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_role_skill aos_skills.role_skill;
begin
    select k.* into v_role_skill
      from aos_auth.role_grant as g
      join aos_skills.role_skill as k on k.role_name = g.role_name
     where g.principal_id = _role_skill.principal_id and k.skill_id = _role_skill.skill_id
       and (g.expires_at is null or g.expires_at > now())
     -- The least strict of the principal's roles decides.
     order by array_position(array['auto', null, 'ask', 'never'], k.approval), k.limits is not null, k.role_name
     limit 1;
    return v_role_skill;
end
$$;
comment on function aos_agent._role_skill(uuid, uuid) is
    'What the roles of a principal say about a skill that needs a role; null when none of them is allowed it.';

-- Without a search path of its own, so that it becomes part of the query that asks; its names were bound when it was made.
create function aos_agent._usable_skill(agent_id uuid, tenant_id uuid, principal_id uuid)
    returns table (skill_id uuid, name text, description text, parameters jsonb, implementation text, function_name text, on_call text, limits jsonb)
    language sql stable
begin atomic
    select e.skill_id, e.name, e.description, e.parameters, e.implementation, e.function_name,
           case when (e.by_role).approval is null then e.on_call
                else case (e.by_role).approval
                    when 'never' then 'denied'
                    when 'ask' then 'awaiting_approval'
                    else case e.implementation when 'external' then 'awaiting_result' else 'run' end end end,
           case when (e.by_role).limits is null then e.limits
                when e.limits is null then (e.by_role).limits
                else jsonb_build_object('allOf', jsonb_build_array(e.limits, (e.by_role).limits)) end
      from (select e.*, case when e.needs_role then aos_agent._role_skill(_usable_skill.principal_id, e.skill_id) end as by_role
              from aos_agent.effective_skill as e
             where e.agent_id = _usable_skill.agent_id and e.tenant_id = _usable_skill.tenant_id
            offset 0) as e  -- by_role is found once
     where not e.needs_role or (e.by_role).skill_id is not null;
end;
comment on function aos_agent._usable_skill(uuid, uuid, uuid) is
    'What an agent can use in a conversation of this principal, and what happens when its model calls it.';

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
            hint = case when aos_auth._visible_tenant() is null
                then format('%s sees no tenant: an operator makes it the db_role of a principal (aos_auth.principal), or the transaction begins with aos_auth.begin(ticket).', session_user)
                else 'SELECT name FROM aos_agent.agent lists the agents.' end;
    when too_many_rows then
        raise exception using errcode = 'OS001', message = format('several tenants have an agent %L', _agent.agent_name),
            hint = 'Open a conversation of the right tenant''s agent and pass conversation_id.';
end
$$;
comment on function aos_agent._agent(text) is 'The agent of that name; an error when there is none, or one in several tenants.';

create function aos_agent.grant_skill(agent_name text, skill_name text, approval text default null, limits jsonb default null) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_agent aos_agent.agent := aos_agent._agent(grant_skill.agent_name);
    v_skill_id uuid;
begin
    perform aos_auth._require('developer');
    select s.skill_id into v_skill_id
      from aos_skills.skill as s
     where s.name = grant_skill.skill_name and (s.tenant_id is null or s.tenant_id = v_agent.tenant_id)
     order by s.tenant_id is null  -- the tenant's own skill before a shared one of the same name
     limit 1;
    if v_skill_id is null then
        raise exception using errcode = 'OS002', message = format('there is no skill %L', grant_skill.skill_name),
            hint = 'Register it first: SELECT aos_skills.register_function(''my_function(int)''::regprocedure).';
    end if;
    insert into aos_agent.agent_skill as g (agent_id, tenant_id, skill_id, approval, limits)
    values (v_agent.agent_id, v_agent.tenant_id, v_skill_id, grant_skill.approval, grant_skill.limits)
    on conflict on constraint agent_skill_pkey do update set approval = excluded.approval, limits = excluded.limits;
end
$$;
comment on function aos_agent.grant_skill(text, text, text, jsonb) is
    'Gives an agent a skill. From its first skill on it has only those it was given, no default ones. approval: auto, ask, never, or null for what the skill says. limits: JSON Schema that the arguments must fit besides the skill''s own.';

create function aos_agent.revoke_skill(agent_name text, skill_name text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_agent aos_agent.agent := aos_agent._agent(revoke_skill.agent_name);
begin
    perform aos_auth._require('developer');
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
