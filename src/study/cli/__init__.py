"""What happens around a job: starting it, checking and listing jobs beforehand, ending a sweep."""
