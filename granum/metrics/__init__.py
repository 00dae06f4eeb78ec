"""Official protocols: pure functions on arrays, and what evaluates two datasets by them."""
