"""A sketch of the limit of the in-database design, not pgAgentOS.

One PL/Python function does the whole turn in one transaction with the standard library's
http.client, and every step is a row of the table that thin.py uses, with the message as text. It
has no policies, audit, budgets or error handling, it cannot be cancelled while the model thinks:
what it costs is the floor that a real in-database agent can only approach.
"""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

from .sql_only import SqlOnly
from .standard_turn import CHAT_TOOLS, MODEL, SYSTEM
from .thin import SEED, TABLE, Message

HEAD = (
    f'{{"model":{json.dumps(MODEL)},"tools":{json.dumps(CHAT_TOOLS)},'
    f'"messages":[{json.dumps({"role": "system", "content": SYSTEM})}'
)
FUNCTION = r"""
create function bench_turn(thread text, msg text, host text, port int, path text) returns text
language plpython3u as $py$
if "load" not in SD:
    import http.client, json
    SD["json"], SD["client"] = json, http.client
    SD["load"] = plpy.prepare(
        "select string_agg(data, ',' order by id) as history from messages where thread = $1",
        ["text"])
    SD["add"] = plpy.prepare("insert into messages (thread, role, data) values ($1, $2, $3)",
                             ["text", "text", "text"])
    SD["order"] = plpy.prepare("select id, customer, status, total::text, placed_at::text "
                               "from orders where id = $1", ["int"])
json, load, add = SD["json"], SD["load"], SD["add"]
conn = SD.get((host, port))
if conn is None:
    conn = SD[host, port] = SD["client"].HTTPConnection(host, port)
headers = {"content-type": "application/json", "authorization": "Bearer sk-mock"}
history = plpy.execute(load, [thread])[0]["history"]
parts = [HEAD, history] if history else [HEAD]

def put(role, message):
    text = json.dumps(message)
    plpy.execute(add, [thread, role, text])
    parts.append(text)

put("user", {"role": "user", "content": msg})
while True:
    conn.request("POST", path, (",".join(parts) + "]}").encode(), headers)
    message = json.loads(conn.getresponse().read())["choices"][0]["message"]
    message = {k: v for k, v in message.items() if v is not None}
    put("assistant", message)
    if not message.get("tool_calls"):
        return message["content"]
    for call in message["tool_calls"]:
        order_id = json.loads(call["function"]["arguments"])["order_id"]
        row = plpy.execute(SD["order"], [order_id])[0]
        result = json.dumps({"order_id": row["id"], "customer": row["customer"],
                             "status": row["status"], "total": row["total"],
                             "placed_at": row["placed_at"]})
        put("tool", {"role": "tool", "tool_call_id": call["id"], "content": result})
$py$
"""


class LimitPLPython(SqlOnly):
    """The sketch."""

    seed_sql = SEED
    turn_sql = "select bench_turn(%(thread)s, %(text)s, %(host)s, %(port)s, %(path)s)"

    def setup(self) -> None:
        with self.connect() as connection:
            connection.execute("create extension if not exists plpython3u")
            connection.execute(TABLE.replace("jsonb", "text"))
            connection.execute(FUNCTION.replace("HEAD", repr(HEAD)))

    def arguments(self, thread: str, text: str) -> Message:
        url = urllib.parse.urlsplit(self.endpoints.base_url)
        endpoint: dict[str, Any] = {
            "host": url.hostname,
            "port": url.port,
            "path": url.path + "/chat/completions",
        }
        return super().arguments(thread, text) | endpoint
