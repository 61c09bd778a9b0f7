"""The master key file: who may have it, what is in it, and the script that makes it."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from pathlib import Path

import pytest

from cluster import CHECKOUT
from pgagentos.errors import InstallationError
from pgagentos.secrets import master_key

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(range(32, 64))).decode()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the environment says that the file is; the working directory is elsewhere."""
    made = tmp_path / "keys" / "master.key"
    made.parent.mkdir()
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "data")
    monkeypatch.setenv("PGAGENTOS_MASTER_KEY_FILE", str(made))
    return made


def fill(file: Path, content: str) -> None:
    file.write_text(content)
    file.chmod(0o600)


def refusal() -> InstallationError:
    """Reading fails; the error has a hint and shows no key."""
    with pytest.raises(InstallationError) as caught:
        master_key.find(None)
    text = f"{caught.value.message} {caught.value.hint}"
    assert caught.value.hint
    assert KEY[:8] not in text
    assert OTHER[:8] not in text
    return caught.value


def test_the_first_line_is_current_and_all_are_found_by_id(file: Path) -> None:
    fill(file, f"# made in spring\n\nnew:{KEY}\n  old:{OTHER}  \n")
    assert master_key.find(None) == ("new", KEY)
    assert master_key.find("old") == ("old", OTHER)
    with pytest.raises(InstallationError, match="the master key older is not in"):
        master_key.find("older")


def test_a_key_does_not_show_in_its_repr(file: Path) -> None:
    fill(file, f"new:{KEY}\n")
    assert repr(master_key.find(None)) == "MasterKey('new')"


def test_the_file_is_read_at_each_use(file: Path) -> None:
    fill(file, f"new:{KEY}\n")
    master_key.find("new")
    fill(file, f"newer:{OTHER}\n")
    with pytest.raises(InstallationError):
        master_key.find("new")


def test_without_the_variable_the_documented_place_is_used(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGAGENTOS_MASTER_KEY_FILE")
    assert master_key.path() == "/etc/pgagentos/master.key"
    assert "/etc/pgagentos/master.key" in (CHECKOUT / "docs/secrets.md").read_text("utf-8")


def test_a_missing_file_has_a_hint_that_says_how_to_make_it(file: Path) -> None:
    error = refusal()
    assert error.message == f"there is no master key at {file}"
    assert "scripts/master_key" in str(error.hint)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o777])
def test_a_file_that_others_may_touch_is_refused(file: Path, mode: int) -> None:
    fill(file, f"new:{KEY}\n")
    file.chmod(mode)
    assert refusal().message == f"the master key {file} is open to others (mode {mode:04o})"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_file_for_its_owner_alone_is_read(file: Path, mode: int) -> None:
    fill(file, f"new:{KEY}\n")
    file.chmod(mode)
    assert master_key.find(None).key_id == "new"


def test_a_file_of_somebody_else_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        fill(file, f"new:{KEY}\n")
        os.chown(file, 65534, 65534)
    else:
        monkeypatch.setenv("PGAGENTOS_MASTER_KEY_FILE", "/etc/passwd")
    assert "does not belong to the server's user" in refusal().message


def test_what_is_no_regular_file_is_refused_at_once(file: Path) -> None:
    file.mkdir()
    assert "not a regular file" in refusal().message
    file.rmdir()
    os.mkfifo(file, 0o600)  # nobody writes to it: to read would hang
    assert "not a regular file" in refusal().message


@pytest.mark.parametrize("place", [".", "deeper/still"])
def test_a_file_in_the_data_directory_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    inside = Path.cwd() / place / "master.key"
    inside.parent.mkdir(parents=True, exist_ok=True)
    fill(inside, f"new:{KEY}\n")
    monkeypatch.setenv("PGAGENTOS_MASTER_KEY_FILE", str(inside))
    assert "is in the data directory" in refusal().message
    # nor by a link from elsewhere
    file.symlink_to(inside)
    monkeypatch.setenv("PGAGENTOS_MASTER_KEY_FILE", str(file))
    assert "is in the data directory" in refusal().message


def test_a_directory_whose_name_begins_like_the_data_directory_is_another(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = Path(f"{Path.cwd()}-keys") / "master.key"
    beside.parent.mkdir()
    fill(beside, f"new:{KEY}\n")
    monkeypatch.setenv("PGAGENTOS_MASTER_KEY_FILE", str(beside))
    assert master_key.find(None).key_id == "new"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no key"),
        ("# nothing\n", "holds no key"),
        (KEY, "line 1 of the master key"),
        (f"new:{KEY}\nold:{OTHER[:-5]}\n", "line 2 of the master key"),
        (f"new:{KEY}{KEY}\n", "line 1 of the master key"),
        (f"new {KEY}\n", "line 1 of the master key"),
        (f"ne w:{KEY}\n", "line 1 of the master key"),
        (f":{KEY}\n", "line 1 of the master key"),
        (f"new:{KEY}\nnew:{OTHER}\n", "line 2 of the master key .* repeats the id"),
        (f"new:{KEY}\n" + "#" * 70000, "is larger than 65536 bytes"),
        ("\udcff\udcfe".encode("utf-8", "surrogateescape").decode("latin-1"), "line 1"),
    ],
)
def test_a_file_that_is_not_lines_of_keys_is_refused_by_the_line(
    file: Path, content: str, message: str
) -> None:
    fill(file, content)
    assert re.search(message, refusal().message)


def script(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PGAGENTOS_MASTER_KEY_FILE"}
    user = os.popen("id -un").read().strip()
    return subprocess.run(
        [CHECKOUT / "scripts/master_key", *arguments, "--user", user],
        capture_output=True,
        text=True,
        env=environment,
    )


def test_the_script_makes_a_key_that_is_read_once_and_for_all(file: Path) -> None:
    file.parent.rmdir()
    first = script("--file", file)
    assert (first.returncode, first.stderr) == (0, "")
    key = master_key.find(None)
    assert file.stat().st_mode & 0o7777 == 0o600
    assert os.listdir(file.parent) == ["master.key"]
    again = script("--file", file)
    assert (again.returncode, master_key.read()) == (0, [key])
    rotated = script("rotate", "--file", file)
    assert rotated.returncode == 0
    new, old = master_key.read()
    assert old == key
    assert {len(base64.b64decode(k.key)) for k in (new, old)} == {32}
    assert (new.key_id, new.key) != (old.key_id, old.key)
    said = "".join(done.stdout + done.stderr for done in (first, again, rotated))
    assert all(k.key not in said for k in (new, old))


def test_the_script_refuses_what_the_server_would_refuse(file: Path) -> None:
    def refused(*arguments: str | Path) -> str:
        done = script(*arguments)
        assert (done.returncode, done.stdout) == (1, ""), done
        return done.stderr

    assert "no absolute path" in refused("--file", "master.key")
    assert "to rotate" in refused("rotate", "--file", file)
    assert "unknown argument" in refused("print", "--file", file)
    (Path.cwd() / "PG_VERSION").write_text("15\n")
    assert "data directory" in refused("--file", Path.cwd() / "deeper" / "master.key")
    assert os.listdir() == ["PG_VERSION"]
    file.mkdir()
    assert "not a regular file" in refused("--file", file)
    assert list(file.iterdir()) == []
