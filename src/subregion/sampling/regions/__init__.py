"""Where samples are drawn: at annotations, away from them, or on grids over space and time."""
