"""Open files as grids of blocks and read windows of them."""
