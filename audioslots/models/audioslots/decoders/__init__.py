"""Decoders: a file is a kind, with a ``Config`` and a class ``Decoder(config, sizes)``.

A decoder maps slots (B, K, S) and the encoder's tokens (B, F' N', W) to maps (B, K, C, F, N), which the output
(``outputs.py``) reads. Every slot is decoded independently, by the same weights.
"""
