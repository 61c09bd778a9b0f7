"""Secrets: the master key, the cipher, and the way in that no log sees."""
