"""Command line: ``python -m pgagentos.local_models {serve,fetch,check}``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from ..errors import AgentOSError, InvalidInput
from .chat_server import ChatOptions, start_chat_server
from .check import check_wires
from .embedding import EMBEDDING_MODEL, Embedder
from .gateway import ChatModel, Gateway
from .http_server import MAX_BODY_BYTES, LoopbackServer
from .model_catalogue import MODELS, MODELS_BY_SIZE
from .model_download import fetch_model_file
from .model_file import (
    MODEL_FILE_VARIABLE,
    ModelFile,
    check_given_file,
    find_model_file,
    missing_model_error,
)
from .upstream import Upstream

#: Seconds that requests in progress get to end after SIGTERM.
GRACE_SECONDS = 10.0


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        match options.command:
            case "fetch":
                print(locate(options).path)
            case "serve":
                _serve(options)
            case "check":
                return _check(options)
    except AgentOSError as error:
        _complain(f"error: {error.message}")
        for note in (error.detail, error.hint):
            if note:
                _complain(note)
        return 1
    return 0


def locate(options: argparse.Namespace) -> ModelFile:
    """Find the model file on this machine, or fetch it.

    Raises:
        InvalidInput: the given file is not a known model.
        InstallationError: there is none, and none can be had.
    """
    if given := options.model_file or os.environ.get(MODEL_FILE_VARIABLE):
        return check_given_file(Path(given), MODELS)
    model = MODELS_BY_SIZE[options.size]
    if found := find_model_file(model):
        return found
    if options.offline:
        raise missing_model_error(model, ["--offline was given, so nothing was downloaded"])
    _complain(f"{model.file_name} ({model.byte_count >> 20} MB) is not here yet: downloading it")
    return fetch_model_file(model, _complain)


def start(options: argparse.Namespace) -> tuple[LoopbackServer, ChatModel | None]:
    """Load the models and open the port; requests are answered once ``serve_forever`` runs.

    Raises:
        AgentOSError: a model or a package is missing, or the port is taken.
    """
    chat = None
    if options.upstream:
        try:
            chat = ChatModel(name=options.model_name, upstream=Upstream(options.upstream))
        except ValueError as error:
            raise InvalidInput(f"--upstream: {error}") from error
    elif not options.no_chat:
        file = locate(options)
        _complain(f"{file.model.name}: from {file.source}, {file.path}")
        running = start_chat_server(
            file, ChatOptions(options.threads, options.context, options.slots)
        )
        chat = ChatModel(
            name=file.model.name,
            upstream=Upstream(running.base_url, running.api_key),
            max_tokens=options.max_tokens,
            is_llama_cpp=True,
            temperature=0.0,  # a small model calls its tools most reliably like this
            byte_count=file.model.byte_count,
            digest=file.model.sha256,
            keep_alive=running,
        )
    embedder = None if options.no_embeddings else Embedder()
    gateway = Gateway(chat, embedder)
    try:
        return LoopbackServer(gateway.handle, options.port, max_body_bytes=options.max_body), chat
    except OSError as error:
        raise InvalidInput(
            f"port {options.port} cannot be opened: {error.strerror}",
            hint="Choose another one, or 0 for any free port.",
        ) from error


def _serve(options: argparse.Namespace) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server, chat = start(options)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    if options.port_file:
        _write_port_file(Path(options.port_file), server.server_address[1])
    embeddings = "none" if options.no_embeddings else EMBEDDING_MODEL
    print(
        f"READY {server.url} chat={chat.name if chat else 'none'} embeddings={embeddings}",
        flush=True,
    )
    stop.wait()
    server.shutdown()
    server.server_close()
    server.wait_until_idle(GRACE_SECONDS)
    if options.port_file:
        Path(options.port_file).unlink(missing_ok=True)


def _check(options: argparse.Namespace) -> int:
    if options.url:
        return 0 if check_wires(options.url.rstrip("/"), options.model_name) else 1
    server, chat = start(options)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        return 0 if check_wires(server.url, chat.name if chat else options.model_name) else 1
    finally:
        server.shutdown()
        server.server_close()


def _write_port_file(path: Path, port: int) -> None:
    """Write the port in one step, so that a reader never sees half of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(f"{port}\n")
    partial.rename(path)


def _complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _threads(text: str) -> int:
    return 0 if text == "auto" else _positive(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pgagentos.local_models",
        description="A small language model and an embedding model on a loopback port.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    file = argparse.ArgumentParser(add_help=False)
    file.add_argument("--size", choices=MODELS_BY_SIZE, default=MODELS[0].size_label)
    file.add_argument(
        "--model-file", metavar="PATH", help=f"the GGUF file; also ${MODEL_FILE_VARIABLE}"
    )
    file.add_argument("--offline", action="store_true", help="never download the model file")
    server = argparse.ArgumentParser(add_help=False)
    server.add_argument("--port", type=int, default=8091, help="0 means any free port")
    server.add_argument(
        "--threads", type=_threads, default=1, help="compute threads, or auto: the idle cores"
    )
    server.add_argument("--context", type=_positive, default=8_192, help="tokens of a request")
    server.add_argument("--slots", type=_positive, default=2, help="requests at the same time")
    server.add_argument("--max-tokens", type=_positive, default=1_024, help="of any answer")
    server.add_argument("--max-body", type=_positive, default=MAX_BODY_BYTES, help="bytes")
    server.add_argument("--no-chat", action="store_true", help="serve embeddings only")
    server.add_argument("--no-embeddings", action="store_true", help="serve chat only")
    server.add_argument(
        "--upstream", metavar="URL", help="base URL of an OpenAI-compatible server to ask instead"
    )
    server.add_argument(
        "--model-name", default=MODELS[0].name, help="name to list with --upstream, or to check"
    )
    serve = commands.add_parser("serve", parents=[file, server], help="serve until SIGTERM")
    serve.add_argument("--port-file", metavar="F", help="the port is written here when ready")
    commands.add_parser("fetch", parents=[file], help="bring the model file, print its path")
    check = commands.add_parser(
        "check", parents=[file, server], help="ask one question with a tool through each wire"
    )
    check.add_argument("--url", help="check a running server instead of starting one")
    check.set_defaults(port=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
