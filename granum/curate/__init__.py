"""Curation: columns in, a score column, a finding or a selection out. Nothing mutates."""
