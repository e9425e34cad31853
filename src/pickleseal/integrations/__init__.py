"""Integrations with other tools: a module for each."""
