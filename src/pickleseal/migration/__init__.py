"""Files that exist already: sealed as they are, taken out again, sealed again."""
