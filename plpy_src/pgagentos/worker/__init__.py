"""The outside worker: ``python -m pgagentos.worker --dsn ...``.

It drives turns of agents whose runner is ``external``, with its own keys and from its own machine,
through the public functions of docs/worker_protocol.md alone. It keeps no state: all is in rows, so
a worker that is killed loses nothing, and another one goes on where it stood.
"""
