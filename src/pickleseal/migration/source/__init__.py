"""Where Python source loads and dumps pickles bare, and what should stand there instead.

Nothing is run or imported: the source is parsed, and names are followed to what they were imported
as. Bytes of a file in, call sites out.
"""
