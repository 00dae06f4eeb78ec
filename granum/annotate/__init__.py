"""Masks at every granularity: trees of regions, where they come from, what they are asked for."""
