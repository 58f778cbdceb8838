"""Which mixtures are kept to be heard: by a rule from one system's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from audioslots.scoring.examples import LOST, MEDIAN, choose_examples


def scores(by_stitching: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Rows of mixtures m00, m01, ...: of two sources, 1 dB above and below the mixture's mean."""
    return pd.DataFrame(
        {"mixture_id": f"m{place:02}", "source": source, "stitching": stitching, "si_sdri_db": value + offset}
        for stitching, values in by_stitching.items()
        for place, value in enumerate(values)
        for source, offset in ((1, 1.0), (2, -1.0))
    )


def test_the_median_the_most_lost_and_the_ends_are_heard_in_this_order():
    blind = np.random.default_rng(0).permutation(41) / 4.0  # 0 to 10 dB: the median is 5
    oracle = blind + 0.1
    oracle[7] += 3.0
    found = choose_examples(scores({"blind": blind, "oracle": oracle}), 6)
    at = {value: f"m{place:02}" for place, value in enumerate(blind)}
    assert list(found) == [at[5.0], "m07", at[0.5], at[9.5], at[2.5], at[7.5]]
    assert list(found.values())[:2] == [MEDIAN, LOST]
    assert list(found.values())[2:] == [f"{n} % of the way from the worst to the best" for n in (5, 95, 25, 75)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 9])
def test_fewer_are_the_first_of_more_and_never_more_than_there_are(count):
    rows = scores({"blind": [3.0, 1.0, 2.0, 5.0, 4.0], "oracle": [3.0, 1.5, 2.0, 5.0, 4.0]})
    all_of_them = list(choose_examples(rows, 5).items())
    assert len(all_of_them) == 5 and list(choose_examples(rows, count).items()) == all_of_them[:count]


def test_no_order_is_lost_where_there_is_none_to_lose():
    values = [3.0, 1.0, 2.0]
    for rows in (scores({"none": values}), scores({"blind": values, "oracle": values})):
        found = choose_examples(rows, 3)
        assert LOST not in found.values() and len(found) == 3 and next(iter(found)) == "m02"


def test_a_mixture_without_a_score_is_not_heard():
    found = choose_examples(scores({"blind": [np.nan, 2.0, 1.0], "oracle": [9.0, 2.0, 1.0]}), 3)
    assert list(found) == ["m02", "m01"]
    assert (
        choose_examples(scores({"none": [np.nan]}), 2) == {}
        and choose_examples(scores({"none": [1.0]}).iloc[:0], 2) == {}
    )


def test_rows_in_another_order_choose_the_same():
    rows = scores({"blind": [2.0, 2.0, 2.0, 1.0], "oracle": [2.0, 2.5, 2.5, 1.0]})
    assert list(choose_examples(rows, 4).items()) == list(
        choose_examples(rows.sample(frac=1, random_state=1), 4).items()
    )
