"""Counted before anything runs: sizes of models, and what a benchmark will ask for."""
