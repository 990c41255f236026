"""Fitting with Lightning, hardware, memory, named random streams."""
