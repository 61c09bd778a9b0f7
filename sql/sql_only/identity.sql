--@ after aos_auth/tables.sql
-- Row security asks these two, so they have none themselves. Nobody but the owner may read or write them.
create table aos_auth.login (
    db_role name not null,
    tenant_id uuid not null,
    principal_id uuid not null,
    constraint login_pkey primary key (db_role),
    constraint login_is_a_principals foreign key (principal_id, tenant_id)
        references aos_auth.principal (principal_id, tenant_id) on delete cascade
);
comment on table aos_auth.login is
    'Which login acts for which principal: those of aos_auth.principal that have a db_role and are active, as their tenant is. Kept by triggers.';
create index login_principal on aos_auth.login (principal_id);
create index login_tenant on aos_auth.login (tenant_id);

-- Not unlogged, though it is empty but for a moment: a replica cannot read such a table, and row security reads it.
create table aos_auth.acting (
    transaction_id xid8 not null,
    acting_no bigint generated always as identity,
    tenant_id uuid not null,
    principal_id uuid,
    constraint acting_pkey primary key (transaction_id, acting_no)
);
comment on table aos_auth.acting is
    'For whom a tool acts that is running in a transaction. Written before it runs and deleted after, so no other transaction ever sees a row.';
comment on column aos_auth.acting.acting_no is 'The highest number of a transaction is the tool that runs now; those below it have called it.';

--@ instead of function aos_auth._session_identity
create function aos_auth._session_identity() returns table (tenant_id uuid, principal_id uuid, is_operator boolean)
    language sql stable
begin atomic
    -- A superuser is a member of every role.
    select l.tenant_id, l.principal_id,
           pg_has_role(session_user, (select n.nspowner from pg_namespace as n where n.nspname = 'aos_auth'), 'member')
      from (select) as always
      left join aos_auth.login as l on l.db_role = session_user;
end;
comment on function aos_auth._session_identity() is
    'Who the login of this session is: the principal whose db_role it is, or an operator, who owns the schemas or is a member of the role that does.';

create function aos_auth._identity() returns table (tenant_id uuid, principal_id uuid, source text)
    language sql stable
begin atomic
    select case when a.tenant_id is not null then a.tenant_id when not s.is_operator then s.tenant_id end,
           case when a.tenant_id is not null then a.principal_id when not s.is_operator then s.principal_id end,
           case when a.tenant_id is not null then 'turn' when s.is_operator then 'operator' when s.tenant_id is not null then 'db_role' else 'nobody' end
      from aos_auth._session_identity() as s
      left join lateral (select x.tenant_id, x.principal_id
                           from aos_auth.acting as x
                          where x.transaction_id = pg_current_xact_id_if_assigned()
                          order by x.acting_no desc limit 1) as a on true;
end;
comment on function aos_auth._identity() is 'Who acts now: the turn whose tool is running, else the login. source: turn, operator, db_role or nobody.';

--@ instead of function aos_auth._visible_tenant
create function aos_auth._visible_tenant() returns uuid
    language sql stable security definer
begin atomic
    select case i.source when 'operator' then '00000000-0000-0000-0000-000000000000' else i.tenant_id end from aos_auth._identity() as i;
end;

--@ instead of function aos_auth.tenant_id
create function aos_auth.tenant_id() returns uuid
    language sql stable security definer
begin atomic
    select i.tenant_id from aos_auth._identity() as i;
end;
comment on function aos_auth.tenant_id() is
    'The tenant that acts: of the turn whose tool is running, or of the login''s principal; null when there is none. For the policies of your own tables: USING (tenant_id = (SELECT aos_auth.tenant_id())).';

--@ instead of function aos_auth.principal_id
create function aos_auth.principal_id() returns uuid
    language sql stable security definer
begin atomic
    select i.principal_id from aos_auth._identity() as i;
end;

--@ instead of function aos_auth._identity_source
create function aos_auth._identity_source() returns text
    language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    select i.source from aos_auth._identity() as i;
end;
comment on function aos_auth._identity_source() is 'How it is known who acts: turn, operator, db_role or nobody.';

--@ edit function aos_auth._require
--< hint = 'Begin a ticket in this transaction, or make the login a principal''s (aos_auth.principal.db_role).';
--> hint = 'An operator makes the login a principal''s: UPDATE aos_auth.principal SET db_role = ...';

--@ edit function aos_agent._agent
--< then format('%s sees no tenant: an operator makes it the db_role of a principal (aos_auth.principal), or the transaction begins with aos_auth.begin(ticket).', session_user)
--> then format('%s sees no tenant: an operator makes it the db_role of a principal (aos_auth.principal).', session_user)

--@ after aos_auth/identity.sql
create function aos_auth._keep_login() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp set row_security = on
as $$
begin
    if tg_op = 'UPDATE' then
        delete from aos_auth.login as l where l.principal_id = old.principal_id;
    end if;
    insert into aos_auth.login (db_role, tenant_id, principal_id)
    select new.db_role, new.tenant_id, new.principal_id
     where new.db_role is not null and new.is_active and aos_auth._is_active(new.tenant_id);
    return null;
end
$$;
comment on function aos_auth._keep_login() is 'Trigger: aos_auth.login holds the logins of active principals.';

create trigger keep_login after insert or update of db_role, is_active, principal_id, tenant_id on aos_auth.principal
    for each row execute function aos_auth._keep_login();

create function aos_auth._keep_logins() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp set row_security = on
as $$
begin
    delete from aos_auth.login as l where l.tenant_id = new.tenant_id;
    insert into aos_auth.login (db_role, tenant_id, principal_id)
    select p.db_role, p.tenant_id, p.principal_id
      from aos_auth.principal as p
     where p.tenant_id = new.tenant_id and p.db_role is not null and p.is_active and new.is_active;
    return null;
end
$$;
comment on function aos_auth._keep_logins() is 'Trigger: the logins of a tenant that is not active act for nobody.';

create trigger keep_logins after update of is_active on aos_auth.tenant
    for each row execute function aos_auth._keep_logins();

create function aos_auth._act_for(tenant_id uuid, principal_id uuid) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    insert into aos_auth.acting (transaction_id, tenant_id, principal_id)
    values (pg_current_xact_id(), _act_for.tenant_id, _act_for.principal_id);
end
$$;
comment on function aos_auth._act_for(uuid, uuid) is 'Lets a tool act for the tenant and the principal of its turn alone, whoever drives that.';

create function aos_auth._act_no_more() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    delete from aos_auth.acting as a
     where a.transaction_id = pg_current_xact_id()
       and a.acting_no = (select max(x.acting_no) from aos_auth.acting as x where x.transaction_id = pg_current_xact_id());
end
$$;
comment on function aos_auth._act_no_more() is 'Ends what the last _act_for of this transaction began.';
