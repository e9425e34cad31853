"""Pickles inside other files: compressed, archived, one behind the other."""
