"""A benchmark and its studies: the YAML files people write, and the variants they resolve to.

A *benchmark* (``config/<name>.yaml``) is data, scale and seeds; keys that it lacks are those of its ``base``, if it
names one. A *study* (``ablations/<name>.yaml``) is one question: a baseline and variants, each a small delta. Resolved,
from left to right, the later wins::

    defaults (config.py)  <-  benchmark's ``variant``  <-  variant a study starts ``from``  <-  the variant's delta
                          <-  benchmark's ``overrides`` of that variant

A study names every value of its axis. The one that is the benchmark's own already is the study's baseline, and is not
trained twice (``members``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from audioslots.budgets import Rates, at_budgets, at_rate, chosen, of_steps
from audioslots.checking import Name, Section, checked, nearest, read_yaml
from audioslots.config import Resolved, Variant
from audioslots.dataset import Data, External
from audioslots.errors import InputError
from audioslots.study import ABLATIONS, deltas, merge, read_study
from audioslots.untrained import BASELINES, EXTERNAL, is_untrained, parse

CONFIG = ABLATIONS.parent / "config"


class Scale(Section):
    """A benchmark's ``variant``, to be checked on its own."""

    variant: Variant


class Benchmark(Data):
    """A benchmark file: data, scale, seeds and the studies to run."""

    title: str
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(min_length=1)
    baselines: list[Literal[BASELINES]] = Field(  # type: ignore[valid-type]
        list(BASELINES), description="untrained systems, at the scale's STFT; the variants' ceilings are added"
    )
    external: dict[Name, External] = Field(
        default_factory=dict, description="systems of other packages: name -> folder or CSV of their estimates"
    )
    studies: list[str] = Field(min_length=1)
    examples: int = Field(4, ge=0, description="mixtures to listen to")
    variant: dict[str, Any] = Field(default_factory=dict, description="scale: a delta below every study's")
    overrides: dict[Name, dict[str, Any]] = Field(default_factory=dict, description="a delta above a variant's own")
    without: list[Name] = Field(default_factory=list, description="variants of its studies that are left out")
    device: str = Field("auto", description="Lightning Fabric's accelerator")
    budgets: int = Field(
        1, ge=1, le=6, description="trainings of every variant, each with half the steps of the next, the last with all"
    )
    rates: Rates | None = Field(None, description="learning rates to try on dev speakers before all else")

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {self.seeds} repeat; expected each once")
        return self


def variants(benchmark: Benchmark, folder: Path = ABLATIONS) -> dict[str, Variant]:
    """All variants of a benchmark's studies by name, in the order they are named; then those at smaller budgets.

    Each has the learning rate that was chosen for it, if one was.

    Raises:
        InputError: an unknown study or variant, a bad delta, or one name for two different variants.
    """
    found: dict[str, Variant] = {}
    for study_name in benchmark.studies:
        for name, variant in members(benchmark, study_name, folder)[0].items():
            if found.setdefault(name, variant) != variant:
                raise InputError(
                    f"ablations/{study_name}.yaml: variants.{name}: differs from the {name!r} of another study; "
                    "expected one name for one variant"
                )
    same, rates = twins(found), chosen(benchmark.rates)
    for name, variant in found.items():
        if rate := rates.get(same.get(name, name)):
            found[name] = at_rate(variant, rate)
    return found | at_budgets(found, same, benchmark.budgets)


def members(benchmark: Benchmark, study_name: str, folder: Path = ABLATIONS) -> tuple[dict[str, Variant], str]:
    """The variants of a study in a benchmark, and what its baseline is on the study's axis.

    A variant whose values are all the baseline's, stitching included, is the baseline under another name: it is left
    out, and its title is the second value (else the baseline's own).

    Raises:
        InputError: an unknown study, a bad delta, or the name of an untrained baseline.
    """
    study, found = read_study(study_name, folder), {}
    if study.baseline in benchmark.without:
        raise InputError(f"{benchmark.name}: without: {study.baseline} is a study's baseline; expected other variants")
    for name, delta in deltas(study_name, folder).items():
        if name in benchmark.without:
            continue
        place = f"ablations/{study_name}.yaml: variants.{name}"
        if is_untrained(name):
            raise InputError(f"{place}: is a baseline's name; expected another")
        document = merge(benchmark.variant, delta)
        found[name] = checked(Variant, document, place)
        if name in benchmark.overrides:
            document = merge(document, benchmark.overrides[name])
            found[name] = checked(Variant, document, f"{benchmark.name}: overrides.{name}")
    baseline = found[study.baseline]
    own = (baseline.content, baseline.separation)
    same = [name for name, one in found.items() if (one.content, one.separation) == own and name != study.baseline]
    title = next((found[name].title for name in same), baseline.title)
    return {name: variant for name, variant in found.items() if name not in same}, title or study.baseline


def untrained(benchmark: Benchmark, known: dict[str, Variant]) -> list[str]:
    """Systems not trained here: baselines at the scale's STFT, what bounds the ``known`` variants, external ones."""
    scale = checked(Scale, {"variant": benchmark.variant}, benchmark.name).variant.spectrogram
    oracles = {name: parse(name) for name in benchmark.baselines}
    own = [name if one is None else one._replace(stft=(scale.window, scale.hop)).name for name, one in oracles.items()]
    bounds = [variant.ceiling for variant in known.values() if variant.ceiling]
    return list(dict.fromkeys([*own, *bounds, *(f"{EXTERNAL}{name}" for name in benchmark.external)]))


def twins(known: dict[str, Variant]) -> dict[str, str]:
    """For every variant that another's model serves too, that other: they differ in separation alone.

    ``known`` is of ``variants``; the first of several is trained.
    """
    first: dict[str, str] = {}
    trained = {name: first.setdefault(json.dumps(one.content, sort_keys=True), name) for name, one in known.items()}
    return {name: other for name, other in trained.items() if other != name}


def resolve(
    benchmark: Benchmark, name: str, seed: int, folder: Path = ABLATIONS, known: dict[str, Variant] | None = None
) -> Resolved:
    """The variant ``name`` for one seed of a benchmark: what training reads.

    ``known``, of ``variants``, spares reading the studies again.

    Raises:
        InputError: no study of the benchmark has a variant of that name, or its values do not fit the benchmark.
    """
    known = variants(benchmark, folder) if known is None else known
    if name not in known:
        raise InputError(f"{benchmark.name}: unknown variant {name!r}; {nearest(name, list(known))}")
    corpus = benchmark.corpus
    document = known[name].model_dump() | {
        "title": known[name].title or name,
        "name": name,
        "benchmark": benchmark.name,
        "seed": seed,
        "rate": benchmark.rate,
        "sources": benchmark.targets,
        "counts": benchmark.counts,
        "task": benchmark.task,
        "noise": benchmark.packed_noise,
        "train": benchmark.packed(corpus.train),
        "validation": corpus.validation and benchmark.packed(corpus.validation),
        "held_out_speakers": corpus.held_out_speakers,
        "data_identity": benchmark.data_identity,
    }
    return checked(Resolved, document, f"{benchmark.name}: variant {name}")


def resolve_rate(benchmark: Benchmark, name: str, factor: float) -> Resolved:
    """A variant to try a learning rate with, ``factor`` times its own, as ``benchmark.rates`` says.

    Raises:
        InputError: as ``resolve``; the benchmark tries no rates.
    """
    if benchmark.rates is None:
        raise InputError(f"{benchmark.name}: rates is not given; expected which learning rates to try")
    own = benchmark.model_copy(update={"rates": None, "budgets": 1})
    known = variants(own)
    if name in known:
        rate = factor * known[name].training.learning_rate
        known[name] = at_rate(of_steps(known[name], benchmark.rates.share), rate)
    return resolve(own, name, benchmark.rates.seed, known=known)


def read_benchmark(document: dict[str, Any] | Path, source: str = "") -> Benchmark:
    """A checked benchmark from its YAML file, or from the dictionary that Snakemake made of it.

    Args:
        document: the file, or its content.
        source: what errors call the content; the file's name where it is empty.

    Raises:
        InputError: a key is unknown or missing, or a value is out of range.
    """
    source = source or (str(document) if isinstance(document, Path) else "config")
    benchmark = checked(Benchmark, _based(read_yaml(document) if isinstance(document, Path) else document), source)
    checked(Scale, {"variant": benchmark.variant}, source)
    if absent := [name for name, one in benchmark.external.items() if not Path(one.estimates).exists()]:
        place = benchmark.external[absent[0]].estimates
        raise InputError(f"{source}: external.{absent[0]}: {place}: no such folder or file; expected its estimates")
    known = variants(benchmark)
    for key in ("overrides", "without"):
        if elsewhere := sorted(set(getattr(benchmark, key)) - set(known)):  # of studies that are not run this time
            every = [name for path in ABLATIONS.glob("*.yaml") for name in read_study(path.stem).variants]
            if unknown := [name for name in elsewhere if name not in every]:
                raise InputError(f"{source}: {key}.{unknown[0]}: no such variant; {nearest(unknown[0], every)}")
    for name in known:
        resolve(benchmark, name, benchmark.seeds[0], known=known)
    return benchmark


def _based(document: Any) -> Any:
    """A benchmark's content with the keys of its ``base``, another file of ``config``, where it lacks them."""
    if not isinstance(document, dict) or "base" not in document:
        return document
    base = read_yaml(CONFIG / str(document["base"]))
    return merge(base, {key: value for key, value in document.items() if key != "base"})


def read_for_counting(path: Path, studies: list[str] | None = None) -> Benchmark:
    """As ``read_benchmark``, of a file; the speech that it names need not be there. ``studies`` replace its own."""
    document = read_yaml(path)
    if isinstance(document, dict):
        document = {"librispeech": "LibriSpeech", **document, **({"studies": studies} if studies else {})}
    return read_benchmark(document, str(path))
