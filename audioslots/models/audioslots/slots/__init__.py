"""Slot modules: a file is a kind, with a ``Config`` and a class ``Slots(config, sizes)``.

A slot module has learned ``queries`` (K, W), and maps tokens (B, C, W) to slots (B, K, M W): M query tokens attend to
the mixture for each slot, and their results side by side are its embedding. Permuting the queries permutes the slots.
"""
