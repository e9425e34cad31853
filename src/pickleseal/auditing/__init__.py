"""The audit: what is here, who sealed it, is it whole, what would it import."""
