"""Training: loaders with an exact order, one trainer, hooks, and what comes back as columns."""
