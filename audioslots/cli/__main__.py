"""``python -m audioslots.cli``."""

from audioslots.cli.main import main

main()
