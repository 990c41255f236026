"""Where it is recorded: result files, and MLflow."""
