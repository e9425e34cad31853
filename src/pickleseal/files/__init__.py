"""Files as such: opened, walked, locked, replaced. Nothing here knows a format."""
