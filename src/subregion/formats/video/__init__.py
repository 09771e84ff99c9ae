"""Video: every frame is a picture, found by an index and decoded from a key frame before it."""
