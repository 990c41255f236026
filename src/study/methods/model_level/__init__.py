"""Approaches that train the whole model."""
