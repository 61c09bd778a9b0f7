create function aos_core._distance(a text, b text) returns double precision
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_distance double precision;
begin
    -- pgvector lives in the schema that its CREATE EXTENSION chose; its operator is named with it.
    execute (select format('select $1::%1$I.vector operator(%1$I.<=>) $2::%1$I.vector', n.nspname)
               from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace where e.extname = 'vector')
       into v_distance using a, b;
    return v_distance;
end
$$;
comment on function aos_core._distance(text, text) is 'Cosine distance of two vectors written as text.';

create function aos_core.memory_store(key text, content text, context_tenant_id uuid, context_conversation_id uuid) returns json
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_model text := aos_meta.setting('embedding_model') #>> '{}';
begin
    insert into aos_core.session_memory as m (tenant_id, conversation_id, key, content, embedding, embedding_model)
    values (memory_store.context_tenant_id, memory_store.context_conversation_id, memory_store.key, memory_store.content,
        case when v_model is not null then aos_meta.embed(memory_store.key || ': ' || memory_store.content, 'passage') end, v_model)
    on conflict on constraint session_memory_key_is_unique_in_its_conversation do update
       set content = excluded.content, embedding = excluded.embedding, embedding_model = excluded.embedding_model, updated_at = now();
    return json_build_object('stored', memory_store.key);
end
$$;
comment on function aos_core.memory_store(text, text, uuid, uuid) is
    'Remembers a fact for the rest of this conversation, under a short key; the same key again replaces it.
@param key: short name of the fact, for example favourite_colour
@param content: the fact itself';

create function aos_core.memory_recall(query text default null, context_conversation_id uuid default null)
    returns table (key text, content text)
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_model text := aos_meta.setting('embedding_model') #>> '{}';
    v_query text;
begin
    if v_model is not null and memory_recall.query <> '' then
        v_query := aos_meta.embed(memory_recall.query, 'query')::text;
    end if;
    return query
        select m.key, m.content
          from aos_core.session_memory as m
         where m.conversation_id = memory_recall.context_conversation_id
         order by case when v_query is not null and m.embedding_model = v_model then aos_core._distance(m.embedding::text, v_query) end,
               (select count(*) from regexp_split_to_table(lower(memory_recall.query), '\s+') as word
                 where word <> '' and strpos(lower(m.key || ' ' || m.content), word) > 0) desc,
               m.updated_at desc
         limit 20;
end
$$;
comment on function aos_core.memory_recall(text, uuid) is
    'Recalls what was remembered in this conversation, best match first; without a query the latest first.
@param query: words or a question to search for';

select aos_skills._register_builtin('b0a05000-0000-5000-8000-000000000002', 'aos_core.memory_store(text,text,uuid,uuid)');
select aos_skills._register_builtin('b0a05000-0000-5000-8000-000000000003', 'aos_core.memory_recall(text,uuid)');
