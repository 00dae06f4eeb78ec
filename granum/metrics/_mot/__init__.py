"""Tracking: pairs of boxes, the three metrics, their sums and how they are told."""
