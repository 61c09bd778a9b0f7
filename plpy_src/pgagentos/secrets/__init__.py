"""Secrets: the master key, and the way in that no log sees."""
