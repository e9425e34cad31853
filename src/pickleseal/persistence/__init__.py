"""Dump, load and inspect sealed objects."""
