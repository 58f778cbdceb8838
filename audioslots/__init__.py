"""A reproducible benchmark and ablation suite for slot-centric audio separation."""

__version__ = "0.1.0"
