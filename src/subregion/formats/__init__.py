"""What each format says of a file: its resolutions, and which blocks of it a window needs."""
