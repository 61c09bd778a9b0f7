"""How often, and after which wait, a request that failed is sent again."""

from __future__ import annotations

import random

from ..errors import ProviderError

#: Requests for one model before it is given up.
MAX_ATTEMPTS = 3
#: Seconds before the second attempt; doubled for each further one, with jitter.
FIRST_BACKOFF = 0.5
#: A provider that asks for more patience than this is taken at its word: no further attempt.
MAX_RETRY_AFTER = 60.0


def patience(error: ProviderError, attempt: int) -> float | None:
    """Say how long to wait before the next attempt.

    Args:
        error: what the last attempt ended with.
        attempt: its number, from 1.

    Returns:
        seconds, as the provider asked or by backoff; None when no further attempt is worth it.
    """
    if not error.is_retryable or attempt >= MAX_ATTEMPTS:
        return None
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= MAX_RETRY_AFTER else None
    # Jitter keeps the turns that failed together from coming back together.
    return float(FIRST_BACKOFF * 2 ** (attempt - 1) * random.uniform(0.75, 1.25))
