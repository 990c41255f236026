"""The contract of an approach, running one, and the cache of repairs."""
