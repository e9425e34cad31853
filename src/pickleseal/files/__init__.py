"""Files as such: opened, walked, locked, replaced. No format is known here."""
