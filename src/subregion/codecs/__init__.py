"""From stored bytes to samples: values that say how, and functions that do it. They know no files."""
