"""The cipher for whatever the database has to keep and nobody may read.

A sealed value is an OpenPGP message (pgcrypto, AES-256, RFC 4880) under the current master key. In
front of the value stands its purpose, for example ``secret operator openai_api_key``: what was
sealed for one row cannot be opened as another.

The work is done in SQL, by ``aos_meta._seal`` and ``aos_meta._open_sealed``: their expressions are
no statements, so that neither auto_explain nor an audit extension that logs nested statements with
their parameters ever meets the master key. Code in PL/pgSQL calls them by assignment
(``v := aos_meta._seal(...)``) for the same reason; :func:`seal` is for what was made in Python.
"""

from __future__ import annotations

from ..store.secrets import open_sealed, seal

__all__ = ["open_sealed", "seal"]
