"""The contestants' virtual environments: exact versions, checked hashes (requirements/*.txt)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE / ".venvs"
SERVER_PYTHON = Path("/usr/bin/python3")


def base_python() -> str:
    """The interpreter that PL/Python embeds, so that no side runs on a faster Python."""
    return str(SERVER_PYTHON) if SERVER_PYTHON.exists() else sys.executable


def python(name: str) -> Path:
    """The interpreter of the environment called `name`."""
    return FOLDER / name / "bin" / "python"


def ensure(names: Iterable[str]) -> None:
    """Make the environments that are missing or were made from other requirements.

    Args:
        names: file names below requirements/, without ".txt".

    Raises:
        SystemExit: an environment could not be made (python3-venv is missing, no package index).
    """
    version = subprocess.run(
        [base_python(), "--version"], capture_output=True, text=True, check=True
    ).stdout
    for name in sorted(set(names)):
        requirements = HERE / "requirements" / f"{name}.txt"
        wanted = version + requirements.read_text()
        stamp = FOLDER / name / "made-from"
        if stamp.exists() and stamp.read_text() == wanted:
            continue
        print(f"installing the environment {name} ...", file=sys.stderr, flush=True)
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        install = [str(python(name)), "-m", "pip", "install", "-q", "--no-deps"]
        try:
            subprocess.run([base_python(), "-m", "venv", str(FOLDER / name)], check=True)
            subprocess.run([*install, "--require-hashes", "-r", str(requirements)], check=True)
        except subprocess.CalledProcessError as error:
            sys.exit(
                f"cannot make the environment {name}: {error}\n"
                "hint: it needs the package python3-venv and a Python package index"
            )
        stamp.write_text(wanted)
