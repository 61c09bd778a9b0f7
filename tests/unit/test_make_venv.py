"""An environment is made of its lock file alone, whatever the package index has got since."""

import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def build_wheel(folder: Path, name: str, version: str, *metadata: str) -> str:
    """Write a wheel without code and give its sha256."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata, ""]
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "\n".join(lines))
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_release_after_the_lock_of_what_is_wanted_with_an_extra_changes_nothing(
    tmp_path: Path,
) -> None:
    index = tmp_path / "index"
    index.mkdir()
    client = build_wheel(index, "client", "1.0", "Requires-Dist: auth[http]>=1.0")
    auth = build_wheel(index, "auth", "1.0", "Provides-Extra: http")
    build_wheel(index, "auth", "1.1", "Provides-Extra: http")
    lock = tmp_path / "some.lock"
    lock.write_text(f"auth==1.0 --hash=sha256:{auth}\nclient==1.0 --hash=sha256:{client}\n")

    environment = os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
    made = subprocess.run(
        [CHECKOUT / "scripts/make_venv", tmp_path / "venv", lock],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    installed = {found.name for found in tmp_path.glob("venv/lib/*/site-packages/*.dist-info")}
    assert installed == {"client-1.0.dist-info", "auth-1.0.dist-info"}
