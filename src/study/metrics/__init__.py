"""What changed: metrics that compare the faulty model (before) with the repaired one (after) on the same inputs."""
