"""From any source to a file whose index is better: streaming, in strips of rows."""
