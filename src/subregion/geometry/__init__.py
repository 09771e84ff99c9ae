"""Where pixels are and which of them are wanted: pure values and functions, no I/O."""
