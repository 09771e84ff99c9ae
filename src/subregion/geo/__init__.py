"""Where pixels lie on the earth: reference systems, GeoTIFF tags, files beside an image. No pixel is read."""
