"""A walk over the opcodes of a pickle that runs none of them."""
