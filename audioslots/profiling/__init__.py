"""Counted before anything runs: what a model takes, and what a benchmark costs."""
