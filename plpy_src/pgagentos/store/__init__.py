"""The only SQL text in Python: one module per subject, one function per statement."""
