"""Encoders: a file is a kind, with a ``Config`` and a class ``Encoder(config, sizes)``.

An encoder maps standardised compressed magnitudes (B, F, N) to tokens (B, F' N', W), frequency first; ``grid`` is
(F', N').
"""
