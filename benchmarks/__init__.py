"""Measurements that print their figures and compare every pixel that they time."""
