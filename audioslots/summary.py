"""A benchmark in short, for its report."""

from __future__ import annotations

from typing import Any

from audioslots.benchmark import Benchmark, members, twins, untrained, variants
from audioslots.budgets import name_at, shares
from audioslots.study import read_study
from audioslots.untrained import EXTERNAL, title


def summary(benchmark: Benchmark) -> dict[str, Any]:
    """What the report needs to know of a benchmark: the content of ``results/<benchmark>/benchmark.json``."""
    corpus, test, known = benchmark.corpus, benchmark.test, variants(benchmark)
    same, described = twins(known), test.described(benchmark.sources, benchmark.counts, benchmark.task)
    studies: list[dict[str, Any]] = []
    for name in benchmark.studies:
        study, (found, baseline_title) = read_study(name), members(benchmark, name)
        about = {"name": name, "title": study.title, "question": study.question, "baseline": study.baseline}
        studies.append(about | {"baseline_title": baseline_title, "variants": list(found)})
    compared = list(dict.fromkeys(name for study in studies for name in study["variants"]))
    for external in benchmark.external:
        name, question = f"{EXTERNAL}{external}", f"How do the variants compare with {external}, trained elsewhere?"
        beside = {"baseline": name, "baseline_title": title(name), "variants": [name, *compared]}
        studies.append({"name": name, "title": title(name), "question": question, **beside})
    budgets = {}
    for name, one in known.items():
        other = same.get(name, name)
        named = {f"{share:g}": name_at(other, share) for share in shares(benchmark.budgets)}
        if named and set(named.values()) <= set(known) and one.separation == known[other].separation:
            budgets[name] = named
    return {
        "name": benchmark.name,
        "title": benchmark.title,
        "rate": benchmark.rate,
        "task": benchmark.task,
        "variants": [*untrained(benchmark, known), *known],
        "models": same,
        "budgets": budgets,
        "seeds": benchmark.seeds,
        "studies": studies,
        "test_description": f"{corpus.described}, {described}, {benchmark.rate // 1000} kHz, {benchmark.mode}"
        + (", clean" if benchmark.task == "sep_clean" else ""),
        "train_description": f"{corpus.described}, {corpus.train}",
    }
