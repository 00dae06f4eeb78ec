"""Region metrics: trees, counts, scores."""
