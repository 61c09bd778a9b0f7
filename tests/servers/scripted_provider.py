"""A provider that plays a script: the package llmock, in its own process, driven over HTTP.

It speaks the OpenAI wires under ``/v1``, Anthropic's under ``/anthropic`` and Gemini's under
``/gemini``; for Ollama's, :func:`start_ollama_front` puts our own gateway before it.

A script belongs to one model name, so that many tests share one server: take :attr:`Script.model`
as the ``model_name`` of the agent under test. Which recipe a helper sends to ``/_llmock/scenario``:

* ``say(text)``: ``{"type":"reply","text":...}``; ``finish="length"`` cuts it off
* ``call(("f", {...}), ("g", {...}))``: ``{"type":"reply","tool_calls":[{"name","arguments"}]}``,
  several calls are parallel
* ``fail(429, retry_after=1.5)``: ``{"type":"fail","status":429,"retry_after":1.5}``. The body is
  the vendor's own. Headers: ``retry-after: 2`` (rounded up) and ``retry-after-ms: 1500``; a 429,
  503 or 529 without a value says 1 second, a 500 says nothing
* ``call_malformed("f", {...})``: a reply, and
  ``{"type":"tool_fault","kind":"malformed_arguments"}``: the arguments' JSON cut in half. Only the
  OpenAI wires can say that; elsewhere the arguments become ``{}``
* ``call_unknown()``: the same with ``unknown_tool``: a call of ``llmock_unknown_tool``
* ``delay(seconds)``: the whole answer comes late

Replies are taken in the order of the script. A failure is taken *before* any reply that waits, so
it hits the next request; one that shall hit a later request must be added while an earlier one is
being answered (give that a delay).

It cannot answer with a wrong content type, half a body, silence, a reset or invented usage: that is
what ``fault_server.py`` does. Its own usage is an estimate, characters divided by four.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

#: Seconds that a server gets to open its port; more than the slowest machine needs.
START_SECONDS = 60.0
_numbers = itertools.count(1)


@dataclass(frozen=True)
class ScriptedProvider:
    """A running llmock.

    Args:
        url: root URL, without a slash at its end.
    """

    url: str

    @property
    def openai_url(self) -> str:
        """Base URL for Chat Completions and Responses, as the SDK takes it."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """Base URL for Anthropic's SDK, which adds ``/v1/messages``."""
        return f"{self.url}/anthropic"

    @property
    def gemini_url(self) -> str:
        """Base URL for Google's SDK, which adds ``/v1beta/models/...``."""
        return f"{self.url}/gemini"

    def new_script(self) -> Script:
        """Begin a script of its own model name."""
        return Script(self, f"scripted-{os.getpid()}-{next(_numbers)}")

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Talk to llmock's control API below ``/_llmock``."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_llmock{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
            return json.load(answer)


@dataclass(frozen=True)
class Script:
    """What the requests for one model name get. Every helper returns the script, to go on with.

    Args:
        provider: the server that plays it.
        model: the model name that it belongs to.
    """

    provider: ScriptedProvider
    model: str

    def add(self, *behaviors: Mapping[str, Any]) -> Script:
        """Add behaviours in llmock's own words."""
        mine = [{**behavior, "match": {"model": self.model}} for behavior in behaviors]
        self.provider.control("POST", "/scenario", {"behaviors": mine})
        return self

    def say(self, text: str, *, finish: str | None = None) -> Script:
        """Answer with text; *finish* is None, ``length`` or ``content_filter``."""
        return self.add({"type": "reply", "text": text, "finish_reason": finish})

    def call(self, *calls: tuple[str, Mapping[str, Any]], text: str | None = None) -> Script:
        """Answer with one or several tool calls, each a name and arguments."""
        wire = [{"name": name, "arguments": dict(arguments)} for name, arguments in calls]
        return self.add({"type": "reply", "text": text, "tool_calls": wire})

    def call_malformed(self, name: str, arguments: Mapping[str, Any]) -> Script:
        """Answer with a call whose arguments are no JSON."""
        self.add({"type": "tool_fault", "kind": "malformed_arguments"})
        return self.call((name, arguments))

    def call_unknown(self) -> Script:
        """Answer with a call of a tool that was not offered."""
        self.add({"type": "tool_fault", "kind": "unknown_tool"})
        return self.call(("never_offered", {}))

    def fail(
        self,
        status: int,
        *,
        retry_after: float | None = None,
        times: int | None = 1,
        message: str | None = None,
        code: str | None = None,
    ) -> Script:
        """Fail the next *times* requests (None: all) with an HTTP status of 400 to 599."""
        failure = {"type": "fail", "status": status, "retry_after": retry_after, "times": times}
        return self.add({**failure, "message": message, "code": code})

    def delay(self, seconds: float) -> Script:
        """Let the next answer come late."""
        return self.add({"type": "delay", "seconds": seconds})

    def requests(self) -> list[dict[str, Any]]:
        """Return the journal of this model name, oldest first.

        Each entry has ``path``, ``status``, ``body``, ``fault``, ``retry_after``, ``started_at``,
        ``ended_at`` and more.
        """
        journal = self.provider.control("GET", "/requests")["requests"]
        return [entry for entry in journal if entry["model"] == self.model]

    def bodies(self) -> list[dict[str, Any]]:
        """Return the request bodies, oldest first."""
        return [entry["body"] for entry in self.requests()]

    def pending(self) -> list[dict[str, Any]]:
        """Return what no request has taken yet."""
        waiting = self.provider.control("GET", "/scenario")["pending"]
        return [one for one in waiting if one["match"].get("model") == self.model]


@contextmanager
def start_scripted_provider() -> Iterator[ScriptedProvider]:
    """Run llmock on a free port until the context ends."""
    # Without a script it answers with one fixed sentence and calls no tools on its own.
    command = [sys.executable, "-m", "llmock.cli", "serve", "--port", "0"]
    command += ["--response-style", "static", "--tool-mode", "off"]
    with _running(command, re.compile(r"running on (http://127\.0\.0\.1:\d+)")) as url:
        yield ScriptedProvider(url)


@contextmanager
def start_ollama_front(upstream_url: str, model: str = "scripted") -> Iterator[str]:
    """Run our gateway before an OpenAI-compatible server; yields the root URL of Ollama's wire.

    Args:
        upstream_url: base URL with ``/v1``.
        model: the name that ``/api/tags`` lists.
    """
    command = [sys.executable, "-m", "pgagentos.local_models", "serve", "--port", "0"]
    command += ["--upstream", upstream_url, "--no-embeddings", "--model-name", model]
    with _running(command, re.compile(r"READY (http://127\.0\.0\.1:\d+)")) as url:
        yield url


@contextmanager
def _running(command: list[str], ready: re.Pattern[str]) -> Iterator[str]:
    """Run a server and yield the URL that it prints when it is ready."""
    source = Path(__file__).parents[2] / "plpy_src"
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONUNBUFFERED": "1"}
    # A file rather than a pipe: nobody has to read it for the server to go on.
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                output.seek(0)
                if match := ready.search(said := output.read()):
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{' '.join(command)} did not start:\n{said}")
                time.sleep(0.05)
            yield match[1]
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def scripted_provider() -> Iterator[ScriptedProvider]:
    """One llmock for the whole session; tests keep apart by model name."""
    with start_scripted_provider() as provider:
        yield provider


@pytest.fixture(scope="session")
def ollama_front(scripted_provider: ScriptedProvider) -> Iterator[str]:
    """The scripted provider on Ollama's wire."""
    with start_ollama_front(scripted_provider.openai_url) as url:
        yield url


@pytest.fixture
def script(scripted_provider: ScriptedProvider) -> Script:
    """A script for this test alone."""
    return scripted_provider.new_script()
