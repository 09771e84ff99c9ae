"""What is measured, one benchmark a module; each adds rows to a run."""
