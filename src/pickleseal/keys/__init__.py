"""Keys: their suites and tags, keyrings, and where keys are kept."""
