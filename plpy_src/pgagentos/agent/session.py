"""What one backend keeps from call to call: connections and plans, never answers.

Row security asks in every session who acts; few sessions drive a turn. What only drivers need is
therefore loaded when the first of them asks for it: it is two thirds of all there is to load.
"""

from __future__ import annotations

import gc
import sys
from functools import cached_property
from typing import TYPE_CHECKING

from ..database import Database
from ..identity import Identities

if TYPE_CHECKING:
    from ..carrier import Carrier
    from ..in_flight import InFlight
    from .tool_call import Tools


class Session:
    """The parts of one backend.

    Args:
        database: the way to SQL.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.identities = Identities(database)

    @cached_property
    def carrier(self) -> Carrier:
        """The way to the models, with its kept-alive connections."""
        from ..carrier import Carrier

        return Carrier(self.database.interrupts)

    @cached_property
    def tools(self) -> Tools:
        """What runs tool calls."""
        from .tool_call import Tools

        return Tools(self.database)

    @cached_property
    def in_flight(self) -> InFlight:
        """What calls on their way may cost, by budget."""
        from ..in_flight import InFlight

        return InFlight()


def load_drivers() -> None:
    """Load what drives turns, all at once."""
    if f"{__package__}.driver" in sys.modules:
        return
    # A collection in the middle of the imports would only walk objects that stay.
    gc.disable()
    try:
        from .. import carrier, in_flight  # noqa: F401
        from . import driver, tool_call  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()
