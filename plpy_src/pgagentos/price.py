"""What a reply of a model costs."""

from __future__ import annotations

from collections.abc import Sequence

from .providers.base import Usage

#: The unit of money in the kernel is 1e-8 US dollars, to which the price of a call is rounded.
UNITS = 100_000_000


def cost(prices: Sequence[float], usage: Usage) -> int:
    """What a reply costs, in 1e-8 US dollars, as ``aos_meta.call_cost`` says it.

    Args:
        prices: US dollars for a million tokens: of input, of cached input, of input that is written
            to the cache, of output.
    """
    fresh, cached, written, output = map(float, prices)
    rest = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    dollars_for_a_million = (
        rest * fresh
        + usage.cached_tokens * cached
        + usage.cache_write_tokens * written
        + usage.output_tokens * output
    )
    return round(dollars_for_a_million * UNITS / 1_000_000)
