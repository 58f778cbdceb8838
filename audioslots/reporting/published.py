"""Figures that others published on Libri2Mix, from a committed file that says where each was read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from audioslots.reporting.table import Table
from audioslots.reporting.tables import valued
from audioslots.reporting.words import number, text, whole

FILE = Path(__file__).with_name("published.csv")


def published() -> Table:
    """The published figures, by rate, training split and SI-SDRi; each row names the source of its figures.

    Where the source's table leaves out the training split, the note says whether it was read elsewhere or inferred.
    A system has no row if this project has not read its figures.
    """
    data = pd.read_csv(FILE)
    columns = [
        valued("System", "system", text, numeric=False),
        valued("Trained on", "trained_on", text, numeric=False),
        valued("Mixtures in training", "training", text, numeric=False),
        valued("Rate (Hz)", "rate_hz", whole),
        valued("SI-SDRi (dB)", "si_sdri_db", lambda value: number(value, 1)),
        valued("SDRi (dB)", "sdri_db", lambda value: number(value, 1)),
        valued("Read in", "read_in", text, numeric=False),
        valued("Note", "note", text, numeric=False),
    ]
    caption = (
        "Published elsewhere: Libri2Mix, test, 3,000 clean mixtures, min. Comparable with a row above only where test "
        "mixtures, rate and training split are the same. Nothing here is measured by this project. This project has "
        "not read the AudioSlots paper's own table of results, so the table lists no figure of it."
    )
    return Table("published", caption, data, columns)
