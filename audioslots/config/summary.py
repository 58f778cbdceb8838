"""A benchmark in short, for its report."""

from __future__ import annotations

from typing import Any

from audioslots.config.benchmark import Benchmark, find_shared_models, members, resolve, untrained, variants
from audioslots.config.lengths import name_at, shares
from audioslots.config.study import read_study
from audioslots.config.untrained import EXTERNAL, title
from audioslots.runtime.errors import InputError


def summary(benchmark: Benchmark) -> dict[str, Any]:
    """What a report needs to know of a benchmark: the content of ``results/<benchmark>/benchmark.json``.

    It describes all studies and lengths of the benchmark, whichever are asked for: one results folder holds them all,
    and a report shows those that have been run.
    """
    asked, benchmark = variants(benchmark), benchmark.whole
    corpus, test, known = benchmark.corpus, benchmark.test, variants(benchmark)
    same, described = find_shared_models(known), test.described(benchmark.sources, benchmark.counts, benchmark.task)
    studies: list[dict[str, Any]] = []
    for name in benchmark.studies:
        study, (found, baseline_title) = read_study(name, benchmark.place.ablations), members(benchmark, name)
        about = {"name": name, "title": study.title, "question": study.question, "baseline": study.baseline}
        studies.append(about | {"baseline_title": baseline_title, "variants": list(found)})
    compared = list(dict.fromkeys(name for study in studies for name in study["variants"]))
    for external in benchmark.external:
        name, question = f"{EXTERNAL}{external}", f"How do the variants compare with {external}, trained elsewhere?"
        beside = {"baseline": name, "baseline_title": title(name), "variants": [name, *compared]}
        studies.append({"name": name, "title": title(name), "question": question, **beside})
    lengths = {}
    for name, one in known.items():
        other = same.get(name, name)
        at = {f"{share:g}": name_at(other, share) for share in shares(benchmark.lengths)}
        at = {share: run for share, run in at.items() if run in known}
        if at and one.separation == known[other].separation:
            lengths[name] = at
    identities: dict[str, dict[str, str]] = {}
    for name in known:
        try:
            runs = {str(seed): resolve(benchmark, name, seed, known) for seed in benchmark.seeds_of(name)}
        except InputError:
            if name in asked:
                raise
        else:  # with what the command line changed, variants that are not asked for need not fit
            identities[name] = {seed: run.run_identity for seed, run in runs.items()}
    return {
        "name": benchmark.name,
        "title": benchmark.title,
        "corpus": corpus.described,
        "rate": benchmark.rate,
        "task": benchmark.task,
        "variants": [*untrained(benchmark, known), *known],
        "models": same,
        "lengths": lengths,
        "seeds": benchmark.seeds,
        "studies": studies,
        "test_description": f"{corpus.described}, {described}, {benchmark.rate // 1000} kHz, {benchmark.mode}"
        + (", clean" if benchmark.task == "sep_clean" else ""),
        "train_description": f"{corpus.described}, {corpus.train}",
        "data_identity": benchmark.data_identity,
        "test_identity": benchmark.test_identity,
        "identities": identities,
    }
