"""Approaches that change or add a layer."""
