"""Pickling and unpickling: the one door to the unpickler."""
