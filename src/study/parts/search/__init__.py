"""Searching new values for a few weights."""
