"""JPEG: by restart intervals where there are any, otherwise from the top."""
