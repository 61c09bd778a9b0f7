--@ install
CREATE EXTENSION vector;
CREATE EXTENSION pgcrypto;
CREATE EXTENSION pgagentos;
--@ step 1
-- 1. 조직/테넌트 생성
INSERT INTO aos_auth.tenant (name, display_name) 
VALUES ('tech_corp', 'Tech Corp Inc.');

-- 2. 테넌트 ID 확인 (나중에 사용하기 위해 저장)
-- 가정: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'

-- 3. 사용자(자신) 생성
INSERT INTO aos_auth.principal (tenant_id, principal_type, display_name)
VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'user', 'Admin User');
--@ step 2
-- 사용 가능한 모델 확인
SELECT model_name, context_window FROM aos_meta.llm_model_registry WHERE is_active = true;
--@ step 3
INSERT INTO aos_persona.persona (
    tenant_id, 
    name, 
    system_prompt, 
    model_id
) VALUES (
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    'pg_expert',
    '당신은 PostgreSQL 데이터베이스 관리자입니다. 
     문서를 찾아보기 위해 RAG 도구에 접근할 수 있습니다. 
     답변하기 전에 항상 SQL 구문을 검증하십시오.',
    (SELECT model_id FROM aos_meta.llm_model_registry WHERE model_name = 'gpt-4o')
);
--@ step 4
-- 1. 에이전트 생성
INSERT INTO aos_agent.agent (tenant_id, name, persona_id)
VALUES (
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    'my_pg_bot',
    (SELECT persona_id FROM aos_persona.persona WHERE name = 'pg_expert')
);

-- 2. 대화(Run) 생성
-- conversation_id를 반환합니다. 예: '123e4567-e89b-12d3-a456-426614174000'
INSERT INTO aos_agent.conversation (agent_id, tenant_id)
VALUES (
    (SELECT agent_id FROM aos_agent.agent WHERE name = 'my_pg_bot'),
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'
);
--@ step 5: input
SELECT aos_agent.add_user_message('conversation_id', '조인을 최적화하려면 어떻게 해야 하나요?');
--@ step 5: start
SELECT aos_agent.start_turn('conversation_id');
--@ step 5: poll
-- 현재 상태 가져오기
SELECT * FROM aos_agent.run_turn('turn_id');
--@ step 5: answer
SELECT aos_agent.finish_turn('turn_id', 'INNER JOIN을 사용해야 합니다...');
--@ step 5: tool call
SELECT aos_agent.process_tool_call('turn_id', 'web_search', '{"query": "postgres join optimization"}');
--@ step 5: tool result
SELECT aos_agent.record_tool_result('turn_id', 'web_search', '{"result": "..."}');
