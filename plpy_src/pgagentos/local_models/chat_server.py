"""The language model: llama.cpp's own HTTP server, which the wheel ``xllamacpp`` carries.

It answers the OpenAI and the Anthropic wire natively, on a loopback port that only the gateway in
this process uses: a random key keeps others out, so that nobody goes around the gateway's limits.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from ..errors import InstallationError
from .model_file import ModelFile

#: Chat template with tool calls as fenced JSON, the way this model family writes them. llama.cpp
#: derives its parser and its grammar for tool calls from the template, so with the file's own
#: template, which asks for XML tags, the calls would come back as plain text.
TEMPLATE_FILE = "qwen25_coder_tools.jinja"


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """How the model is run.

    Args:
        threads: compute threads; 0 means as many as there are idle cores now. One is right beside
            a busy database: ggml's threads spin at barriers, and a second one that has to share
            its core makes the whole model ten times slower.
        context_tokens: prompt and answer of one request, in tokens.
        slots: requests that are answered at the same time.
    """

    threads: int = 1
    context_tokens: int = 8_192
    slots: int = 2


@dataclass(frozen=True, slots=True)
class ChatServer:
    """A running llama.cpp server.

    Args:
        base_url: with the path, ``http://127.0.0.1:PORT/v1``.
        api_key: what it wants as bearer token.
        server: the native object; the server ends when nothing refers to it any more.
    """

    base_url: str
    api_key: str = field(repr=False)
    server: Any = field(repr=False)


def idle_cores() -> int:
    """Return how many cores have had nothing to do in the last minute, at least 1."""
    cores = len(os.sched_getaffinity(0))
    return max(1, int(cores - os.getloadavg()[0]))


def start_chat_server(file: ModelFile, options: ChatOptions) -> ChatServer:
    """Load the model and serve it; returns when it is ready (1 to 3 seconds).

    Raises:
        InstallationError: the wheel, the system library it needs, or memory is missing.
    """
    try:
        import xllamacpp  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError as error:
        hint = "Install the packages of plpy_src/requirements/local_models.lock."
        if "libgomp" in str(error):
            hint = "Install the system package libgomp1."
        raise InstallationError(
            f"the language model cannot be loaded: {error}", hint=hint
        ) from error
    threads = options.threads or idle_cores()
    key = secrets.token_hex(16)
    params = xllamacpp.CommonParams()
    params.model.path = str(file.path)
    params.model_alias = {file.model.name}
    params.n_ctx = options.context_tokens * options.slots  # it is divided among the slots
    params.n_parallel = options.slots
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # the system chooses
    params.api_keys = [key]
    params.use_jinja = True
    params.chat_template = files(__package__).joinpath(TEMPLATE_FILE).read_text("utf-8")
    params.verbosity = 1  # errors only
    try:
        server = xllamacpp.Server(params)
    except Exception as error:
        raise InstallationError(
            f"the language model could not be started: {error}",
            hint=f"It needs about {file.model.byte_count * 2 >> 20} MB of free memory.",
        ) from error
    return ChatServer(f"{server.listening_address}/v1", key, server)
