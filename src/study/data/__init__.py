"""Data sets, one file per family; their splits and sources."""
