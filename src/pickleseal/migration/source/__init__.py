"""Find where Python source loads and dumps plain pickles, and what should replace each place.

Nothing is run or imported: the source is parsed, and names are followed to their imports. Bytes of
a file in, call sites out.
"""
