"""Reads of windows, carried out: every block is fetched and decoded once, on all cores."""
