"""A cap on the memory that this process may add (Linux: getrlimit(2), ``RLIMIT_DATA``)."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def memory_cap(max_bytes: int) -> Iterator[None]:
    """Let a block add at most so many bytes of private memory; beyond, allocations fail.

    Args:
        max_bytes: on top of what the process has now. What it has freed before may be used besides.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _data_bytes() + max_bytes
    if soft != resource.RLIM_INFINITY:
        wanted = min(wanted, soft)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """Data and stack of the process: the sixth number of ``/proc/self/statm``, in pages."""
    descriptor = os.open("/proc/self/statm", os.O_RDONLY)
    try:
        pages = int(os.read(descriptor, 256).split()[5])
    finally:
        os.close(descriptor)
    return pages * resource.getpagesize()
