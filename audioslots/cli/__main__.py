"""``python -m audioslots.cli``."""

from audioslots.cli import main

main()
