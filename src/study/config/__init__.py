"""From a command line to checked objects."""
