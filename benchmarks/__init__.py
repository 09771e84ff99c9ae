"""Results of `subregion bench`, and how they get into the documentation."""
