"""Anomaly scores: how often each occurs, and what follows from it."""
