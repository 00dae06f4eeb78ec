"""Ranked lists of queries, and the pixels found."""
