"""TIFF: pages as grids of blocks."""
