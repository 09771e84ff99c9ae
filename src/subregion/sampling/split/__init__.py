"""Datasets split for training, validation and test."""
