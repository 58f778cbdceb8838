"""Scores of estimates against their references."""
