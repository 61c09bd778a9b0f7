"""Servers that tests talk to: each in its own process, on a free port of 127.0.0.1."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FaultServer:
    """A running ``fault_server.py``.

    Args:
        port: its TCP port on 127.0.0.1.
        scheme: ``http`` or ``https``.
    """

    port: int
    scheme: str = "http"

    def url(self, path: str) -> str:
        """The URL of a path, whose first part names the fault."""
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def stats(self) -> dict[str, Any]:
        """What the server has counted; only for the plain one."""
        with urllib.request.urlopen(self.url("/stats")) as response:
            counted: dict[str, Any] = json.load(response)
            return counted


@contextmanager
def start_fault_server(
    certificate: Path | None = None, key: Path | None = None
) -> Iterator[FaultServer]:
    """Run ``fault_server.py`` in its own process, over TLS when a certificate is given."""
    command = [sys.executable, str(Path(__file__).with_name("fault_server.py"))]
    if certificate is not None:
        command += ["--certificate", str(certificate), "--key", str(key)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield FaultServer(
                int(process.stdout.readline()), "https" if certificate is not None else "http"
            )
        finally:
            process.kill()
