"""Decoders: one file a kind, found by its name.

Each holds a class ``Decoder(variant, shape)`` that maps slots (B, K, W) and the encoder's tokens (B, F' N', W) to maps
(B, K, C, F, N), which the output (``model/outputs.py``) reads. Every slot is decoded alone, by the same weights.
"""
