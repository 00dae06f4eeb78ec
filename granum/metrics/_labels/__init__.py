"""Labels and scores of whole samples."""
