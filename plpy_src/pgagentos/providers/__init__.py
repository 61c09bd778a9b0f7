"""One face for every model provider.

A driver module holds two pure functions, ``to_wire`` and ``from_wire``; see :mod:`.base`.
"""
