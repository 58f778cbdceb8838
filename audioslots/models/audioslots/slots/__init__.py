"""Slot modules: one file a kind, found by its name.

Each holds a class ``Slots(settings, encoder)`` with learned ``queries`` (K, W), that maps tokens (B, C, W) to what the
tokens of the slots have read, (B, K M, W): M of them read for each slot, and ``readers.joined`` puts them side by side.
They start from the queries, or from what is carried from the chunk before. Permuting either permutes the slots.
"""
