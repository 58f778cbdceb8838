"""Slot modules: one file a kind, found by its name.

Each holds a class ``Slots(settings, encoder)`` with learned ``queries`` (K, W), that maps tokens (B, C, W) to slots
(B, K, M W): M tokens read for each slot, and side by side they are its embedding. Permuting the queries permutes the
slots.
"""
