"""Contact sheets: samples on one picture, to look at."""
