"""The implementations of :class:`pgagentos.database.Database`."""
