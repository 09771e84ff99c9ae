"""One module for each kind of attack, with what it does in the parent and in its children."""
