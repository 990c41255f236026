"""Figures that approaches leave."""
