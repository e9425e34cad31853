"""How fast pickleseal is beside its peers: `make bench`, or `python -m benchmarks --help`.

`objects` makes what is saved, `ways` are the tools that save it, `measure` takes turns and
times, `children` starts processes for what only a fresh one can tell, `results` is what comes
out, `aims` what was hoped for, and `report` and `plot` show it.
"""
