"""Names that commands and options had in 0.2; they work for one more release, with a warning."""

from __future__ import annotations

import sys

COMMANDS = {
    "estimate": "separate-set",
    "rates": "select-lr",
    "means": "rank",
    "sizes": "profile",
    "plan": "cost",
    "reference --unpack": "results unpack",
    "reference": "results publish",
    "ship": "results release-weights",
    "pack": "corpus pack",
    "mixtures fetch": "mixtures download",
    "mixtures draw": "mixtures sample",
    "mixtures converse": "mixtures sample-conversations",
    "mixtures apart": "mixtures check-speakers",
}
OPTIONS = {
    "--fresh": "--overwrite",
    "--sources": "--num-speakers",
    "--devices": "--num-devices",
    "--card": "--gpu",
    "--config": "--separation-config",
}


def replace_old_names(arguments: list[str]) -> list[str]:
    """Arguments of the command line with today's names, and a warning on stderr for each old one."""
    first = next((k for k, word in enumerate(arguments) if not word.startswith("-")), len(arguments))
    before, words = arguments[:first], arguments[first:]
    for old, new in COMMANDS.items():
        if words[: len(old.split())] == old.split():
            _warn(old, new)
            words[: len(old.split())] = new.split()
            break
    replaced = []
    for word in before + words:
        option, equals, value = word.partition("=")
        if option in OPTIONS:
            _warn(option, OPTIONS[option])
            option = OPTIONS[option]
        replaced.append(option + equals + value)
    return replaced


def _warn(old: str, new: str) -> None:
    print(f"audioslots: {old} is now {new}; the old name goes in the next release", file=sys.stderr)
