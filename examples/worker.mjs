// An outside worker in Node, of the smallest useful size: npm install pg; node worker.mjs
// PGHOST, PGUSER, PGDATABASE ... say where the database is, OPENAI_API_KEY is the key. See docs/worker_protocol.md.
import pg from 'pg'

const tools = {  // the external skills of your agents
  async weather({ city }) { return { city, degrees: 21 } },
}
const db = new pg.Pool()
const call = async (fn, ...args) =>
  (await db.query(`select aos_agent.${fn}(${args.map((_, i) => `$${i + 1}`)}) as state`, args)).rows[0].state
const wire = m => m.role === 'tool' ? { role: 'tool', tool_call_id: m.call_id, content: m.content } : !m.tool_calls ? m
  : { ...m, tool_calls: m.tool_calls.map(c => ({ id: c.call_id, type: 'function', function: { name: c.name, arguments: JSON.stringify(c.arguments) } })) }

async function askModel(s) {  // the wire of OpenAI's Chat Completions, which many servers speak
  const messages = [{ role: 'system', content: s.system_prompt }, ...s.messages.map(wire)]
  if (s.note) messages.push({ role: 'system', content: s.note })
  const list = (s.tools.length ? s.tools : s.withheld_tools).map(t => ({ type: 'function', function: t }))
  const response = await fetch(`${s.base_url}/chat/completions`, { method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': s.idempotency_key, authorization: `Bearer ${process.env[s.api_key_env]}` },
    body: JSON.stringify({ model: s.wire_name, messages, ...(list.length && { tools: list, tool_choice: s.tool_choice }) }) })
  if (!response.ok) throw Object.assign(new Error(`HTTP ${response.status}`), { kind: response.status === 401 ? 'authentication' : 'server_error' })
  const { choices: [{ message, finish_reason }], usage: u } = await response.json()
  return [{ content: message.content, finish_reason: { length: 'length', content_filter: 'content_filter' }[finish_reason], idempotency_key: s.idempotency_key,
            tool_calls: message.tool_calls?.map(c => ({ call_id: c.id, name: c.function.name, arguments: c.function.arguments })) },
          { input_tokens: u?.prompt_tokens, output_tokens: u?.completion_tokens }]
}

async function drive(s) {
  const { turn_id, fence } = s
  const heartbeat = setInterval(() => call('extend_claim', turn_id, fence).catch(() => {}), 20_000)
  try {
    while ('fence' in s) {  // without it the claim is over: the turn has ended, or waits for a person
      if (s.status === 'awaiting_model') s = await call('record_model_reply', turn_id, ...await askModel(s), fence)
      else for (const c of s.pending.filter(c => c.status !== 'awaiting_approval')) {
        if (c.status === 'in_database') { s = (await call('process_tool_call', turn_id, c.tool_name, c.arguments, c.call_id, fence)).turn ?? s; continue }
        const [result, isError] = await Promise.resolve(tools[c.tool_name](c.arguments)).then(r => [r, false], e => [`${e}`, true])
        s = (await call('record_tool_result', turn_id, c.tool_name, JSON.stringify(result), c.call_id, fence, isError)).turn ?? s
      }
    }
    console.log(turn_id, s.status)
  } catch (error) {
    await call('fail_turn', turn_id, { kind: error.kind ?? 'abandoned', message: error.message }, fence).catch(() => {})
  } finally { clearInterval(heartbeat) }
}

for (;;) {  // one turn after the other; start several of these for more at once
  const claimed = await call('claim_turn', `node ${process.pid}`)
  if (claimed) await drive(claimed)
  else await new Promise(wake => setTimeout(wake, 500))
}
