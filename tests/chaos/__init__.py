"""Attacks on processes, files and folders that a collection must survive; see docs/reliability.md."""
