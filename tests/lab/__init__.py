"""The fault lab: `make lab` runs it and writes docs/explanation/evidence.md.

Each part breaks something on purpose and has a judge: files are as they were before or as they
should be after, nothing is lost, what is left over is found and harmless, a second run finishes,
and no exception escapes that is not documented.
"""
