"""Encoders: one file a kind, found by its name.

Each holds a class ``Encoder(settings, bins, frames)`` with ``grid``, the shape (F', N') of its tokens over frequency
and time, that maps standardised compressed magnitudes (B, F, N) to tokens (B, F' N', W), frequency first.
"""
