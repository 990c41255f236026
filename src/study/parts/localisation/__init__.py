"""Which weights, neurons or pixels a failure comes from."""
