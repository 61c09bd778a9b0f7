"""Finding a model's file by its SHA-256 digest, whatever brought it to this machine.

Order: a path that the user gives, our cache directory, the blob store of an Ollama on this machine,
then the network (:mod:`.model_download`). The first three answer without any network.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import InstallationError, InvalidInput
from .model_catalogue import Model

Source = Literal["given path", "cache", "ollama", "official page", "package parts"]

#: The environment's way to give a path; the option ``--model-file`` wins over it.
MODEL_FILE_VARIABLE = "PGAGENTOS_MODEL_FILE"

#: The cache that root fills and everyone may read.
SYSTEM_CACHE = Path("/var/cache/pgagentos/models")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file on disk whose digest has been checked."""

    model: Model
    path: Path
    source: Source


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal. 1.1 GB take about a second.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def is_file_of(model: Model, path: Path) -> bool:
    """Tell whether *path* is a readable file with the size and the digest of *model*."""
    try:
        return path.stat().st_size == model.byte_count and sha256_of(path) == model.sha256
    except OSError:
        return False


def own_cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory that this user fills.

    ``$XDG_CACHE_HOME/pgagentos/models`` if that variable is set (XDG Base Directory Specification),
    else :data:`SYSTEM_CACHE` for root, else ``~/.cache/pgagentos/models``.
    """
    if xdg := environment.get("XDG_CACHE_HOME"):
        return Path(xdg) / "pgagentos" / "models"
    if os.geteuid() == 0:
        return SYSTEM_CACHE
    return Path.home() / ".cache" / "pgagentos" / "models"


def cache_directories(environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return the directories to look in: this user's own, then the system's."""
    return tuple(dict.fromkeys((own_cache_directory(environment), SYSTEM_CACHE)))


def ollama_blob_directories(environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return where an Ollama on this machine keeps its blobs.

    ``OLLAMA_MODELS``, then the user's own store, then that of the system service (Ollama's FAQ,
    "Where are models stored?"). A blob's name is ``sha256-`` and the digest of its content.
    """
    stores = [Path(environment["OLLAMA_MODELS"])] if environment.get("OLLAMA_MODELS") else []
    stores += [Path.home() / ".ollama/models", Path("/usr/share/ollama/.ollama/models")]
    return tuple(store / "blobs" for store in stores)


def check_given_file(path: Path, models: Iterable[Model]) -> ModelFile:
    """Return the known model that the user's own file is.

    Raises:
        InvalidInput: the file cannot be read, or is none of *models*.
    """
    try:
        size = path.stat().st_size
        digest = sha256_of(path)
    except OSError as error:
        raise InvalidInput(
            f"the model file {path} cannot be read: {error.strerror}",
            hint=f"Give another path with --model-file or {MODEL_FILE_VARIABLE}, or none at all: "
            "then the file is looked for and, if need be, downloaded.",
        ) from error
    known = tuple(models)
    for model in known:
        if (model.byte_count, model.sha256) == (size, digest):
            return ModelFile(model, path, "given path")
    names = ", ".join(model.file_name for model in known)
    raise InvalidInput(
        f"{path} is none of the model files known here ({names})",
        detail=f"its sha256 is {digest}",
        hint="Its tool-call template fits these models only. Serve another model with a server of "
        "your own, and name that one in aos_meta.provider.",
    )


def find_model_file(
    model: Model,
    caches: Iterable[Path] | None = None,
    blob_directories: Iterable[Path] | None = None,
) -> ModelFile | None:
    """Look for *model* on this machine, in the caches and then in Ollama's stores.

    Args:
        model: what to look for.
        caches: directories instead of :func:`cache_directories`.
        blob_directories: directories instead of :func:`ollama_blob_directories`.

    Returns:
        The file, its digest checked, or None.
    """
    for directory in cache_directories() if caches is None else caches:
        if is_file_of(model, path := directory / model.file_name):
            return ModelFile(model, path, "cache")
    for directory in ollama_blob_directories() if blob_directories is None else blob_directories:
        if is_file_of(model, path := directory / f"sha256-{model.sha256}"):
            return ModelFile(model, path, "ollama")
    return None


def missing_model_error(model: Model, reasons: Iterable[str]) -> InstallationError:
    """Build the error for a model that is neither here nor to be had."""
    return InstallationError(
        f"the model file {model.file_name} is not on this machine and cannot be downloaded",
        detail="; ".join(reasons),
        hint=f"Download {model.page_url} on a machine with internet access, copy it here and name "
        f"it with --model-file or {MODEL_FILE_VARIABLE}.",
    )
