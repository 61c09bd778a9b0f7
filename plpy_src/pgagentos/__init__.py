"""The Python half of pgAgentOS.

The database calls it through :mod:`pgagentos.entry`; everything below that module is plain typed
Python which runs, and is tested, without a server.
"""
