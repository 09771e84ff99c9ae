"""Images as other libraries take them."""
