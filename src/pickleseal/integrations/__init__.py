"""pickleseal in other tools: a module for each."""
