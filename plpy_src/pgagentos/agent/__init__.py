"""The turn: one state machine over rows.

``loop.py`` plan, perform, record, ``model_call.py`` a model call with its retries, ``tool_call.py``
a tool call in its savepoint, ``failures.py`` what is written when no answer comes, ``driver.py`` a
turn in one transaction.
"""
