"""What is measured, a contest a module; each adds rows to a run."""
