"""Zarr: arrays as grids of blocks, in shards, in a file each, or in one."""
