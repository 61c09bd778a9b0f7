"""Network input and output that a waiting backend can be interrupted in."""
