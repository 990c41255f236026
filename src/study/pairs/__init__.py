"""Two models from files, compared as a job compares the faulty and the repaired one; nothing is repaired."""
