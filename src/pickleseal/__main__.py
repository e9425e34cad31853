"""`python -m pickleseal` is the `pickleseal` command."""

from pickleseal.cli import main

main()
