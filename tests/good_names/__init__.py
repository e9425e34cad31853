"""What makes the list of good names: see `__main__`."""
