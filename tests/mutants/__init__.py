"""A mutation test of our own guards: `make mutants` switches each off in turn.

A guard that no test misses is not known to work. `guards` finds the guards and makes the mutants,
`trial` runs the tests that reach one, `equivalent.txt` lists the mutants that change nothing that
anyone could see, each with its reason.
"""
