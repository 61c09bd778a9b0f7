"""A web server with one file, in its own process, that can break off in the middle.

    python3 file_server.py FILE [--without-ranges] [--break-after BYTES]

The first line that it prints is its port; then one line with the Range header of each request.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


@dataclass(frozen=True)
class FileServer:
    """A running server.

    Args:
        url: the file's URL.
        output: what the server has printed.
    """

    url: str
    output: Path

    def ranges(self) -> list[str]:
        """Return the Range header of each request so far, ``None`` for those without."""
        return self.output.read_text().splitlines()[1:]


@contextmanager
def serve_bytes(
    content: bytes, *, with_ranges: bool = True, break_after: int | None = None
) -> Iterator[FileServer]:
    """Serve *content* until the context ends."""
    with tempfile.TemporaryDirectory() as directory:
        file, output = Path(directory) / "file", Path(directory) / "output"
        file.write_bytes(content)
        command = [sys.executable, "-u", __file__, str(file)]
        command += [] if with_ranges else ["--without-ranges"]
        command += [] if break_after is None else ["--break-after", str(break_after)]
        with (
            output.open("w") as out,
            subprocess.Popen(command, stdout=out, stdin=subprocess.DEVNULL) as process,
        ):
            try:
                while not (printed := output.read_text()).endswith("\n"):
                    if process.poll() is not None:
                        raise RuntimeError("the file server did not start")
                yield FileServer(f"http://127.0.0.1:{printed.split()[0]}/file", output)
            finally:
                process.kill()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--without-ranges", action="store_true")
    parser.add_argument("--break-after", type=int)
    options = parser.parse_args()
    content = options.file.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            print(wanted, flush=True)
            start = 0
            if wanted and not options.without_ranges:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = len(content) if options.break_after is None else options.break_after
            self.wfile.write(content[start:end])

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
