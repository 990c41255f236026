"""What one uses from Python, without command line, files or MLflow; `import study` offers it."""
