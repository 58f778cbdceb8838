"""The command line, ``audioslots`` or ``python -m audioslots.cli``."""

from audioslots.cli.app import main

__all__ = ["main"]
