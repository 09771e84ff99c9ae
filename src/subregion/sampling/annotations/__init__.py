"""Annotations of a dataset as arrays, found by window; those of one sample, clipped, drawn, exported."""
