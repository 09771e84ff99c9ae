"""Samples of images with their annotations."""
