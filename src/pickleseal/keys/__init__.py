"""Keys: their suites and tags, the ring that says which may do what, and where they are kept."""
