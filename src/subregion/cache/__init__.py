"""Converted copies of source files, made once and trusted afterwards."""
