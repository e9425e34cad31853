"""What the vectors are made of: `make_vectors` writes them."""
