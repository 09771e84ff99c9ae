"""Files of every kind, damaged at random, and what the library makes of them; see docs/reliability.md."""
