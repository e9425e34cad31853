"""What an unsealed pickle would do, read from its bytes alone, without any key."""
