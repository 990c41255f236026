"""Which inputs to use: clusters, representatives, purchases of labels."""
