"""The decoders of the compiled executor under sanitizers."""
