"""From the keys of a target to one sample: what is read, its pixels, its annotations."""
