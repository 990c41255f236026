"""What combines the old and the repaired model after a repair."""
