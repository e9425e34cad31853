"""The audit: what lies here, who sealed it, is it whole, what would it import."""
