"""The history in the words of Anthropic's Messages API.

Rules that the API enforces (https://platform.claude.com/docs/en/api/messages and
https://platform.claude.com/docs/en/agents-and-tools/tool-use/implement-tool-use):

* roles alternate, the first message is a user's, no text block is blank;
* all results of a batch stand in one user message, before any text;
* ids of tool calls match ``[A-Za-z0-9_-]+`` and are unique in the whole request;
* ``thinking`` and ``redacted_thinking`` blocks go back as they came;
* a ``system`` message stands right after a user's, and an assistant's or nothing follows it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from .base import Message
from .fragment import plain_body
from .wire import clean_text, dumps, repair

#: What stands before a history that begins with the assistant.
OPENING = "[The beginning of the conversation is not shown.]"

_BAD_ID = re.compile(r"[^A-Za-z0-9_-]")
_THINKING = ("thinking", "redacted_thinking")

# Calls of tools that run at Anthropic and their results: blocks of the assistant.
_SERVER_CALLS = ("server_tool_use", "mcp_tool_use")


@dataclass(slots=True)
class _Turn:
    """Consecutive messages of one role.

    Args:
        role: ``user``, ``assistant`` or ``system``.
        blocks: text and calls, as JSON text; of an assistant also objects to look into.
        results: tool results, as JSON text.
        plain: the escaped text when the turn is one plain message so far.
        is_paused: the last reply in it was paused, so a call may still lack its result.
    """

    role: str
    blocks: list[str | dict[str, Any]] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    plain: str | None = None
    is_paused: bool = False

    def add_text(self, body: str) -> None:
        """Add a text, given as the inside of a JSON string."""
        if not self.blocks and not self.results:
            self.plain = body
        else:
            self.plain = None
        self.blocks.append(f'{{"type":"text","text":"{body}"}}')

    def to_json(self, *, cache_control: str | None = None) -> str:
        """Write the message, with a cache point at its last block if asked for."""
        if self.plain is not None and cache_control is None:
            return f'{{"role":"{self.role}","content":"{self.plain}"}}'
        parts = self.results + [
            block if isinstance(block, str) else dumps(block) for block in self.blocks
        ]
        if cache_control is not None:
            parts[-1] = f'{parts[-1][:-1]},"cache_control":{cache_control}}}'
        return f'{{"role":"{self.role}","content":[{",".join(parts)}]}}'


@dataclass(frozen=True, slots=True)
class History:
    """The messages, ready for the wire.

    Args:
        fragments: each message as JSON text.
        tool_names: names of the tools that were called, in order of their first call.
        is_loop_unthought: the tool loop that goes on holds a reply without leading thinking.
    """

    fragments: list[str]
    tool_names: tuple[str, ...]
    is_loop_unthought: bool


def write_history(
    messages: Sequence[Message],
    provider: str,
    *,
    server_tools: Collection[str] = (),
    takes_system: bool = False,
    cache_control: str | None = None,
) -> History:
    """Write the messages of a request.

    Args:
        messages: the history, oldest first.
        provider: the provider that is asked; blocks of any other provider are left out.
        server_tools: names of the declared tools that run at Anthropic. Blocks of others are
            left out, the API refuses them.
        takes_system: the model takes system messages in the middle of the conversation.
        cache_control: JSON text to put at the last block of the last user message, or None.
    """
    writer = _Writer(provider, frozenset(server_tools), takes_system)
    for message in repair(messages):
        plain = plain_body(message.json) if message.vendor is None else None
        if plain is not None:
            writer.turn(plain[0]).add_text(plain[1])
        else:
            writer.add(json.loads(message.json), message.vendor)
    return writer.finish(cache_control)


class _Writer:
    """Collects turns; what it guards are the ids, which must be unique in the request."""

    def __init__(self, provider: str, server_tools: frozenset[str], takes_system: bool) -> None:
        self._provider = provider
        self._server_tools = server_tools
        self._takes_system = takes_system
        self._turns: list[_Turn] = []
        self._notes: list[str] = []
        self._ids: dict[str, int] = {}
        self._open: dict[str, str] = {}
        self._names: dict[str, None] = {}

    def turn(self, role: str) -> _Turn:
        """Return the turn that a message of *role* belongs to."""
        if self._notes and role == "assistant":
            self._place_notes()
        if self._turns and self._turns[-1].role == role:
            return self._turns[-1]
        if not self._turns and role == "assistant":
            self._turns.append(_Turn("user"))
            self._turns[0].add_text(OPENING)
        self._turns.append(_Turn(role))
        return self._turns[-1]

    def add(self, message: dict[str, Any], vendor: str | None) -> None:
        """Add a message that is more than a plain text."""
        role, content = message["role"], clean_text(message.get("content") or "")
        if role == "tool":
            self._add_result(message, content)
        elif role == "system":
            if content.strip():
                self._notes.append(content)
                if not self._takes_system:
                    self._place_notes()
        elif role == "assistant":
            self._add_reply(message, content, vendor)
        elif content.strip():
            self.turn("user").add_text(dumps(content)[1:-1])

    def _add_result(self, message: dict[str, Any], content: str) -> None:
        result: dict[str, Any] = {
            "type": "tool_result",
            "tool_use_id": self._open.get(message["call_id"], message["call_id"]),
        }
        if content.strip():  # the API takes a result without content, but no blank text
            result["content"] = content
        if message.get("is_error"):
            result["is_error"] = True
        turn = self.turn("user")
        turn.plain = None
        turn.results.append(dumps(result))

    def _add_reply(self, message: dict[str, Any], content: str, vendor: str | None) -> None:
        calls: list[dict[str, Any]] = message.get("tool_calls") or []
        own = self._own_blocks(vendor) if vendor else None
        self._open = {}
        blocks: list[str | dict[str, Any]] = []
        if own is None:
            if content.strip():
                blocks.append(f'{{"type":"text","text":{dumps(content)}}}')
            blocks += [self._call(call) for call in calls]
        else:
            blocks += self._replay(own["content"], {call["call_id"]: call for call in calls})
        if not blocks:
            return
        turn = self.turn("assistant")
        # A lone text stays in its short form, so that the request reads as people write it.
        is_alone = own is None and not calls and not turn.blocks
        turn.plain = dumps(content)[1:-1] if is_alone else None
        turn.blocks += blocks
        turn.is_paused = bool(own and own.get("is_paused"))

    def _own_blocks(self, vendor: str) -> dict[str, Any] | None:
        """Return the stored blocks if this provider wrote them: signatures are valid there only."""
        blocks: dict[str, Any] = json.loads(vendor)
        if blocks.get("driver") != "anthropic" or blocks.get("provider") != self._provider:
            return None
        return blocks if isinstance(blocks.get("content"), list) else None

    def _replay(
        self, content: list[dict[str, Any]], calls: dict[str, dict[str, Any]]
    ) -> list[str | dict[str, Any]]:
        """Return the blocks to send back: unchanged, but for calls that are no longer there."""
        blocks: list[str | dict[str, Any]] = []
        dropped: set[str] = set()
        for block in content:
            kind = block.get("type")
            if kind == "tool_use":
                if block["id"] not in calls:
                    continue
                self._names[block["name"]] = None
                wire_id = self._wire_id(block["id"])
                blocks.append(block if wire_id == block["id"] else {**block, "id": wire_id})
            elif kind in _SERVER_CALLS and block.get("name") not in self._server_tools:
                dropped.add(str(block.get("id")))
            elif "tool_use_id" in block and block["tool_use_id"] in dropped:
                continue
            elif kind == "thinking" and not block.get("signature"):
                continue  # never valid; the reasoning of a gateway that does not sign
            elif kind == "text" and not str(block.get("text") or "").strip():
                continue
            else:
                blocks.append(block)
        return blocks

    def _call(self, call: dict[str, Any]) -> str:
        name = _BAD_ID.sub("_", call["name"])[:128] or "_"
        self._names[name] = None
        arguments = call.get("arguments")
        if not isinstance(arguments, dict):  # the API takes objects only
            arguments = {"invalid_json": arguments} if arguments else {}
        return (
            f'{{"type":"tool_use","id":"{self._wire_id(call["call_id"])}",'
            f'"name":"{name}","input":{dumps(arguments)}}}'
        )

    def _wire_id(self, call_id: str) -> str:
        """Return a valid id that this request has not used yet.

        The result depends on earlier messages only, so a longer history keeps its prefix.
        """
        wire_id = _BAD_ID.sub("_", call_id) or "call"
        count = self._ids[wire_id] = self._ids.get(wire_id, 0) + 1
        while count > 1:
            candidate = f"{wire_id}_{count}"
            if candidate not in self._ids:
                self._ids[candidate] = 1
                wire_id = candidate
                break
            count += 1
        self._open[call_id] = wire_id
        return wire_id

    def _place_notes(self) -> None:
        """Put the kernel's notes where the model takes them."""
        notes, self._notes = self._notes, []
        if self._takes_system and self._turns and self._turns[-1].role == "user":
            turn = self.turn("system")
            turn.add_text(dumps("\n\n".join(notes))[1:-1])
            return
        turn = self.turn("user")
        for note in notes:
            turn.add_text(dumps(f"<system>{note}</system>")[1:-1])

    def finish(self, cache_control: str | None) -> History:
        if self._notes:
            self._place_notes()
        turns = self._turns
        _drop_unanswered(turns)
        turns = [turn for turn in turns if turn.blocks or turn.results]
        cached = None
        if cache_control is not None:
            cached = next((turn for turn in reversed(turns) if turn.role == "user"), None)
        return History(
            [
                turn.to_json(cache_control=cache_control if turn is cached else None)
                for turn in turns
            ],
            tuple(self._names),
            _is_loop_unthought(turns),
        )


def _drop_unanswered(turns: list[_Turn]) -> None:
    """Drop calls of server tools that never got their result; only a paused turn may have one."""
    for position, turn in enumerate(turns):
        if turn.role != "assistant" or (position == len(turns) - 1 and turn.is_paused):
            continue
        objects = [block for block in turn.blocks if isinstance(block, dict)]
        if any(block.get("type") in _SERVER_CALLS for block in objects):
            answered = {block.get("tool_use_id") for block in objects}
            turn.blocks = [
                block
                for block in turn.blocks
                if isinstance(block, str)
                or block.get("type") not in _SERVER_CALLS
                or block.get("id") in answered
            ]


def _is_loop_unthought(turns: list[_Turn]) -> bool:
    """Tell whether thinking with a budget must stay off.

    In that mode the API wants every reply of the running tool loop to begin with thinking, and a
    loop that another provider began does not.
    """
    for turn in reversed(turns):
        if turn.role == "user" and not turn.results:
            return False
        if turn.role == "assistant" and turn.blocks:
            first = turn.blocks[0]
            if isinstance(first, str) or first.get("type") not in _THINKING:
                return True
    return False
