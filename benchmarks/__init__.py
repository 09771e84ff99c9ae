"""The benchmark suite: this library and its peers side by side, on the same pixels, in one run."""
