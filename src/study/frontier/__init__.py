"""The frontier: what a repair fixes against what it breaks, on the way from the faulty model to the repaired one."""
