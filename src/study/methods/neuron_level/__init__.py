"""Approaches that change single neurons or weights."""
