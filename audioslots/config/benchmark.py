"""A benchmark and its studies: the YAML files people write, and the variants they resolve to.

A *benchmark* (``config/<name>.yaml``) is a data set, a test set and a scale: one folder of ``results/`` and one page.
Keys that it lacks are those of its ``base``, a file beside it, if it names one. A *study* (``ablations/<name>.yaml``)
is one question: a baseline and variants, each a small delta. Resolved, from left to right, the later wins::

    defaults (config.py)  <-  benchmark's ``variant``  <-  variant a study starts ``from``  <-  the variant's delta
                          <-  benchmark's ``overrides`` of that variant

A study names every value of its axis. The one that is the benchmark's own already is the study's baseline, and is not
trained twice (``members``). A name means one variant in a benchmark, in whatever studies it is.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from audioslots.config.data import Data, External
from audioslots.config.lengths import LearningRates, at_lengths, at_rate, chosen, of_steps
from audioslots.config.study import deltas, find_studies, locate_imports, merge, read_study
from audioslots.config.untrained import BASELINES, EXTERNAL, MIXTURE, is_untrained, parse
from audioslots.config.variant import InitFrom, Resolved, Variant
from audioslots.layout import MODEL, SCORES, results_of, run_folder
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json
from audioslots.schema import Name, Section, checked, nearest, read_yaml

ALL = "all"


class Scale(Section):
    """A benchmark's ``variant``, to be checked on its own."""

    variant: Variant


@dataclass(frozen=True)
class Place:
    """Where a benchmark was read, and what its file says besides what is asked for.

    Attributes:
        folder: of its file: where its ``base``, its table of learning rates and other benchmarks are.
        ablations: folder of the studies.
        studies: of the file, all of them; what is asked for may be fewer.
        lengths: of the file.
    """

    folder: Path
    ablations: Path
    studies: list[str] = field(default_factory=list)
    lengths: int = 1


class Benchmark(Data):
    """A benchmark file: data, scale, seeds and the studies to run."""

    title: str
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(min_length=1)
    more_seeds: dict[Name, list[Annotated[int, Field(ge=0, lt=2**32)]]] = Field(
        default_factory=dict, description="seeds of a variant beside those of all"
    )
    baselines: list[Literal[BASELINES]] = Field(  # type: ignore[valid-type]
        list(BASELINES), description="untrained systems, at the scale's STFT; the variants' oracle bounds are added"
    )
    external: dict[Name, External] = Field(
        default_factory=dict, description="systems of other packages: name -> folder or CSV of their estimates"
    )
    studies: list[str] = Field(min_length=1, description="studies to run; all: those of the benchmark's file")
    examples: int = Field(4, ge=0, description="mixtures to listen to")
    variant: dict[str, Any] = Field(default_factory=dict, description="scale: a delta below every study's")
    overrides: dict[Name, dict[str, Any]] = Field(default_factory=dict, description="a delta above a variant's own")
    without: list[Name] = Field(default_factory=list, description="variants of its studies that are left out")
    device: str = Field("auto", description="Lightning Fabric's accelerator")
    lengths: int = Field(
        1, ge=1, le=6, description="trainings per variant, each with half the steps of the next, the last with all"
    )
    learning_rates: LearningRates | None = Field(None, description="tried on dev speakers before all else")
    published: str | None = Field(
        None, description="folder of published results: a variant whose runs it holds is not trained or scored again"
    )
    _place: Place | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        for name, seeds in {
            "seeds": self.seeds,
            **{f"more_seeds.{n}": [*self.seeds, *s] for n, s in self.more_seeds.items()},
        }.items():
            if len(set(seeds)) != len(seeds):
                raise ValueError(f"{name}: {seeds} repeat; expected each once")
        return self

    def seeds_of(self, variant: str) -> list[int]:
        """The seeds that a variant is trained with."""
        return [*self.seeds, *self.more_seeds.get(variant, [])]

    @property
    def place(self) -> Place:
        """Where it was read."""
        assert self._place is not None, "a benchmark is made by read_benchmark, or put `at` a place"
        return self._place

    def at(self, place: Place) -> Self:
        """The same, read from somewhere."""
        copy = self.model_copy()
        copy._place = place
        return copy

    @property
    def whole(self) -> Self:
        """With all studies and lengths of its file, and those asked for: what one results folder may hold."""
        studies = list(dict.fromkeys([*self.place.studies, *self.studies]))
        return self.model_copy(update={"studies": studies, "lengths": max(self.lengths, self.place.lengths)})


def variants(benchmark: Benchmark) -> dict[str, Variant]:
    """All variants of a benchmark's studies by name, in the order they are named; then those at shorter lengths.

    Each has the learning rate that was chosen for it, if one was.

    Raises:
        InputError: an unknown study or variant, a bad delta, or one name for two different variants.
    """
    whole: dict[str, Variant] = {}
    lengths: dict[str, int] = {}
    for study_name in benchmark.whole.studies:
        own = read_study(study_name, benchmark.place.ablations).lengths or benchmark.lengths
        for name, variant in members(benchmark, study_name)[0].items():
            if whole.setdefault(name, variant) != variant:
                raise InputError(
                    f"ablations/{study_name}.yaml: variants.{name}: differs from the {name!r} of another study; "
                    "expected one name for one variant"
                )
            if study_name in benchmark.studies:
                lengths[name] = max(lengths.get(name, 1), min(own, benchmark.lengths))
    same, rates = twins(whole), chosen(benchmark.learning_rates, benchmark.place.folder)
    for name, variant in whole.items():
        if rate := rates.get(same.get(name, name)):
            whole[name] = at_rate(variant, rate)
    trained: dict[str, int] = {}
    for name, number in lengths.items():
        model = same.get(name, name)
        if whole[model].separation == whole[name].separation:
            trained[model] = max(trained.get(model, 1), number)
    return {name: whole[name] for name in whole if name in lengths} | at_lengths(whole, trained)


def members(benchmark: Benchmark, study_name: str) -> tuple[dict[str, Variant], str]:
    """The variants of a study in a benchmark, and what its baseline is on the study's axis.

    A variant whose values are all the baseline's, stitching included, is the baseline under another name: it is left
    out, and its title is the second value (else the baseline's own).

    Raises:
        InputError: an unknown study, a bad delta, or the name of an untrained baseline.
    """
    study, found = read_study(study_name, benchmark.place.ablations), {}
    if study.baseline in benchmark.without:
        raise InputError(f"{benchmark.name}: without: {study.baseline} is a study's baseline; expected other variants")
    for name, delta in deltas(study_name, benchmark.place.ablations).items():
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
    scale = checked(Scale, {"variant": benchmark.variant}, benchmark.name).variant.model.transform
    oracles = {name: parse(name) for name in benchmark.baselines}
    stft = (scale.window, scale.hop) if scale else None
    own = [name if one is None else one._replace(stft=stft).name for name, one in oracles.items()]
    bounds = [variant.ceiling for variant in known.values() if variant.ceiling]
    return list(dict.fromkeys([*own, *bounds, *(f"{EXTERNAL}{name}" for name in benchmark.external)]))


def twins(known: dict[str, Variant]) -> dict[str, str]:
    """For every variant that another's model serves too, that other: they differ only in separation.

    ``known`` is of ``variants``; the first of several is trained.
    """
    first: dict[str, str] = {}
    trained = {name: first.setdefault(json.dumps(one.content, sort_keys=True), name) for name, one in known.items()}
    return {name: other for name, other in trained.items() if other != name}


def resolve(
    benchmark: Benchmark, name: str, seed: int, known: dict[str, Variant] | None = None, leading: tuple[str, ...] = ()
) -> Resolved:
    """The variant ``name`` for one seed of a benchmark: what training reads.

    Args:
        benchmark: that has the variant.
        name: of the variant.
        seed: of the run.
        known: of ``variants``, spares reading the studies again.
        leading: variants whose weights start from this one.

    Raises:
        InputError: no study of the benchmark has a variant of that name, or its values do not fit the benchmark.
    """
    known = variants(benchmark) if known is None else known
    if name not in known:
        raise InputError(f"{benchmark.name}: unknown variant {name!r}; {nearest(name, list(known))}")
    corpus, variant = benchmark.corpus, known[name]
    document = variant.model_dump() | {
        "title": variant.title or name,
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
    if variant.init_from:
        document |= _init(benchmark, variant.init_from, seed, (*leading, f"{benchmark.name}/{name}"))
    return checked(Resolved, document, f"{benchmark.name}: variant {name}")


def _init(benchmark: Benchmark, init: InitFrom, seed: int, leading: tuple[str, ...]) -> dict[str, str]:
    """The model file that a training starts from, and the identity of the run that makes it."""
    place = f"{leading[-1]}: init_from"
    other, known = benchmark.whole, None
    if init.benchmark and init.benchmark != benchmark.name:
        path = benchmark.place.folder / f"{init.benchmark}.yaml"
        if not path.is_file():
            raise InputError(f"{place}: {path}: no such file; expected the file of the benchmark {init.benchmark}")
        other, known = _other(path, benchmark.place.ablations, path.stat().st_mtime_ns)
        if seed not in other.seeds_of(init.variant):
            raise InputError(f"{place}: {init.benchmark} has no seed {seed}; expected one of {other.seeds}")
    if f"{other.name}/{init.variant}" in leading:
        raise InputError(f"{place}: {init.variant!r} leads back here; expected it not to")
    known = variants(other) if known is None else known
    first = resolve(other, init.variant, seed, known, leading)
    made = run_folder(results_of(other.name), twins(known).get(init.variant, init.variant), seed)
    return {"init_model": (made / MODEL).as_posix(), "init_identity": first.identity}


@functools.lru_cache(maxsize=20)
def _other(path: Path, ablations: Path, changed_ns: int) -> tuple[Benchmark, dict[str, Variant]]:
    """Another benchmark, whole, and its variants; the speech that it names need not be there."""
    other = read_for_counting(path, ablations=ablations, check=False)
    return other, variants(other)


def runs_to_make(
    benchmark: Benchmark, asked: Iterable[str], published: Mapping[str, set[int]]
) -> list[tuple[str, int]]:
    """(Variant, seed) of every run that is asked for and not among the published ones that are taken."""
    return [
        (name, seed) for name in asked for seed in benchmark.seeds_of(name) if seed not in published.get(name, set())
    ]


def choosing_run(benchmark: Benchmark, runs: list[tuple[str, int]]) -> tuple[str, int]:
    """The run whose scores choose the examples to listen to, for all systems of a benchmark.

    It is the baseline of the first study that has one among ``runs``, which are to be made, or on disk; where all of
    that is published, the first of ``runs``. But one on disk that has chosen already goes on to, so that no run is
    scored again.
    """
    results, seed = results_of(benchmark.name), benchmark.seeds[0]
    baselines = [(read_study(study, benchmark.place.ablations).baseline, seed) for study in benchmark.whole.studies]
    found = [run for run in baselines if run in runs or (run_folder(results, *run) / SCORES).exists()]
    candidates = [*found, *runs] or [(MIXTURE, 0)]
    return next((run for run in candidates if _has_chosen(run_folder(results, *run))), candidates[0])


def _has_chosen(run: Path) -> bool:
    """Whether a run was scored with a number of examples, not with those that another has chosen."""
    note = run / "scores.stage.json"
    return note.is_file() and isinstance(read_json(note).get("request", {}).get("examples"), int)


def absent_models(benchmark: Benchmark, runs: Iterable[tuple[str, int]]) -> dict[str, str]:
    """Variants that start from a model of another benchmark that is not there -> one line with what makes it."""
    known, found = variants(benchmark.whole), {}
    for name, seed in runs:
        init = known[name].init_from
        if init and init.benchmark not in (None, benchmark.name):
            model = resolve(benchmark, name, seed, known).init_model
            if model and not Path(model).is_file():
                path = benchmark.place.folder / f"{init.benchmark}.yaml"
                other, _ = _other(path, benchmark.place.ablations, path.stat().st_mtime_ns)
                study = next(study for study in other.studies if init.variant in members(other, study)[0])
                found[name] = (
                    f"{benchmark.name}: variant {name}: {model}: no such file; run: make run "
                    f"BENCHMARK={init.benchmark} STUDIES={study}"
                )
    return found


def resolve_rate(benchmark: Benchmark, name: str, factor: float) -> Resolved:
    """A variant to try a learning rate with, ``factor`` times its own, as ``benchmark.learning_rates`` says.

    Raises:
        InputError: as ``resolve``; the benchmark tries no rates.
    """
    if benchmark.learning_rates is None:
        raise InputError(f"{benchmark.name}: learning_rates is not given; expected which learning rates to try")
    own = benchmark.model_copy(update={"learning_rates": None, "lengths": 1})
    known = variants(own)
    if name in known:
        rate = factor * known[name].training.learning_rate
        known[name] = at_rate(of_steps(known[name], benchmark.learning_rates.share), rate)
    return resolve(own, name, benchmark.learning_rates.seed, known=known)


def read_benchmark(
    document: dict[str, Any] | Path, file: Path | None = None, beside: Iterable[Path] = (), check: bool = True
) -> Benchmark:
    """A checked benchmark from its YAML file, or from the dictionary that Snakemake made of it.

    Args:
        document: the file, or its content with what the command line changed.
        file: where the content was read; errors name it, and ``base`` and other benchmarks are found beside it.
        beside: folders that may hold ``ablations`` before those from the file's folder upward are searched.
        check: also resolve every variant.

    Raises:
        InputError: a key is unknown or missing, or a value is out of range.
    """
    if isinstance(document, Path):
        file = document
        document = read_yaml(file)
    source, folder = str(file or "config"), (file or Path("config") / "config").parent
    own = _based(read_yaml(file), folder) if file and file.is_file() else None
    document = _based(document, folder)
    listed = own.get("studies") if isinstance(own, dict) else None
    listed = [listed] if isinstance(listed, str) else listed
    if isinstance(document, dict):
        if document.get("studies") == ALL:
            document = document | {"studies": listed or []}
        elif isinstance(document.get("studies"), str):
            document = document | {"studies": [document["studies"]]}
    benchmark = checked(Benchmark, document, source)
    lengths = own.get("lengths", 1) if isinstance(own, dict) else 1
    place = Place(folder, find_studies([*beside, folder]), listed or benchmark.studies, lengths)
    benchmark = benchmark.at(place)
    checked(Scale, {"variant": benchmark.variant}, source)
    if absent := [name for name, one in benchmark.external.items() if not Path(one.estimates).exists()]:
        estimates = benchmark.external[absent[0]].estimates
        raise InputError(f"{source}: external.{absent[0]}: {estimates}: no such folder or file; expected its estimates")
    if not check:
        return benchmark
    known = variants(benchmark)
    for key in ("overrides", "without", "more_seeds"):
        if elsewhere := sorted(set(getattr(benchmark, key)) - set(known)):  # of studies that are not run this time
            every = [n for path in place.ablations.glob("*.yaml") for n in read_study(path.stem, path.parent).variants]
            if unknown := [name for name in elsewhere if name not in every]:
                raise InputError(f"{source}: {key}.{unknown[0]}: no such variant; {nearest(unknown[0], every)}")
    for name in known:
        resolve(benchmark, name, benchmark.seeds[0], known=known)
    return benchmark


def _based(document: Any, folder: Path, leading: tuple[Path, ...] = ()) -> Any:
    """A benchmark's content with the keys of its ``base``, a file beside it in ``folder``, where it lacks them."""
    document = locate_imports(document, folder)
    if not isinstance(document, dict) or "base" not in document:
        return document
    path = folder / str(document["base"])
    if path.resolve() in leading:
        raise InputError(f"{path}: base leads back here; expected it not to")
    base = _based(read_yaml(path), path.parent, (*leading, path.resolve()))
    return merge(base, {key: value for key, value in document.items() if key != "base"})


def read_for_counting(
    path: Path, studies: list[str] | None = None, ablations: Path | None = None, check: bool = True
) -> Benchmark:
    """As ``read_benchmark``, of a file; the speech that it names need not be there. ``studies`` replace its own."""
    document = read_yaml(path)
    if isinstance(document, dict):
        document = {"librispeech": "LibriSpeech", **document, **({"studies": studies} if studies else {})}
    return read_benchmark(document, path, [ablations.parent] if ablations else (), check)
