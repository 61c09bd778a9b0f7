"""A provider that plays a script: the package llmock, in its own process, driven over HTTP.

It speaks the OpenAI wires under ``/v1``, Anthropic's under ``/anthropic`` and Gemini's under
``/gemini``; for Ollama's, :func:`start_ollama_front` puts our own gateway before it.

A script belongs to one model name, so tests that run side by side use one server: take the name
from :attr:`Script.model` and give it to the agent under test. What each helper sends:

================================  =================================================================
``say(text)``                     ``{"type":"reply","text":...}``
``call(("name", {...}), ...)``    ``{"type":"reply","tool_calls":[...]}``; several are parallel
``fail(429, retry_after=2)``      ``{"type":"fail","status":429,"retry_after":2}``: native error body,
                                  headers ``retry-after`` (whole seconds) and ``retry-after-ms``
``malformed_arguments(call)``     the call's arguments cut in half (OpenAI wires only: the others
                                  have objects there, and get an empty one)
``unknown_tool(call)``            the call's name replaced by one that was never offered
``delay(seconds)``                the answer comes late
``stream_fault(kind)``            disconnect, truncate, stall or malformed, for streamed answers
================================  =================================================================

A request takes the oldest behaviour that matches it. A failure is taken before the replies, so a
sequence "call, fail, say" is ``call(); say(); fail(after=...)`` only if the failure comes first: to
fail *later*, add it once the earlier requests have been made.

It cannot: answer with a wrong content type, half a body, silence or a reset (``fault_server.py``
does), nor say other usage than its own estimate, which is deterministic and is read from the answer.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
