"""Dumping, loading and inspecting sealed objects."""
