"""Repair trained classifiers with many approaches under identical conditions, and measure what each changes."""

__version__ = "0.1.0"
