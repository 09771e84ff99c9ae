"""Bytes: local files by position, the pool of open ones, and the limits of what is read."""
