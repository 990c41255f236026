"""What several approaches share."""
