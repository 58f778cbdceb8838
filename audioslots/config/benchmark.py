"""A benchmark and its studies: the YAML files people write, and the variants they resolve to.

A *benchmark* (``config/<name>.yaml``) is a data set, a test set and a scale: one folder of ``results/`` and one page.
Keys that it lacks are those of its ``base``, a file beside it, if it names one. A *study* (``ablations/<name>.yaml``)
is one question: a baseline and variants, each a small delta. Resolved, from left to right, the later wins::

    defaults (variant.py)  <-  benchmark's ``variant``  <-  variant a study starts ``from``  <-  the variant's delta
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
from audioslots.config.lengths import LearningRates, read_chosen_rates, shorten, shorten_all, with_rate
from audioslots.config.study import deltas, find_studies, locate_imports, merge, read_study
from audioslots.config.untrained import BASELINES, EXTERNAL, is_untrained, parse
from audioslots.config.variant import InitFrom, Resolved, Variant
from audioslots.layout import MODEL, results_of, run_folder
from audioslots.runtime.errors import InputError
from audioslots.schema import Name, checked, nearest, read_yaml

ALL = "all"


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
        of_variants = {f"more_seeds.{name}": self.seeds_of(name) for name in self.more_seeds}
        for key, seeds in ({"seeds": self.seeds} | of_variants).items():
            if len(set(seeds)) != len(seeds):
                raise ValueError(f"{key}: {seeds} repeat; expected each once")
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
        """The same benchmark, as if read at a place."""
        copy = self.model_copy()
        copy._place = place
        return copy

    @property
    def whole(self) -> Self:
        """With all studies and lengths of its file, and those asked for: what one results folder may hold."""
        studies = list(dict.fromkeys([*self.place.studies, *self.studies]))
        return self.model_copy(update={"studies": studies, "lengths": max(self.lengths, self.place.lengths)})


# --- variants ---------------------------------------------------------------------------------------------------------


def variants(benchmark: Benchmark) -> dict[str, Variant]:
    """All variants of a benchmark's studies by name, in the order they are named; then those at shorter lengths.

    Each has the learning rate that was chosen for it, if one was.

    Raises:
        InputError: an unknown study or variant, a bad delta, or one name for two different variants.
    """
    by_name: dict[str, Variant] = {}
    lengths: dict[str, int] = {}
    for study_name in benchmark.whole.studies:
        limit = read_study(study_name, benchmark.place.ablations).lengths or benchmark.lengths
        for name, variant in members(benchmark, study_name)[0].items():
            if by_name.setdefault(name, variant) != variant:
                raise InputError(
                    f"ablations/{study_name}.yaml: variants.{name}: differs from the {name!r} of another study; "
                    "expected one name for one variant"
                )
            if study_name in benchmark.studies:
                lengths[name] = max(lengths.get(name, 1), min(limit, benchmark.lengths))
    shared = find_shared_models(by_name)
    rates = read_chosen_rates(benchmark.learning_rates, benchmark.place.folder)
    for name, variant in by_name.items():
        if rate := rates.get(shared.get(name, name)):
            by_name[name] = with_rate(variant, rate)
    trained: dict[str, int] = {}
    for name, number in lengths.items():
        model = shared.get(name, name)
        if by_name[model].separation == by_name[name].separation:
            trained[model] = max(trained.get(model, 1), number)
    return {name: variant for name, variant in by_name.items() if name in lengths} | shorten_all(by_name, trained)


def members(benchmark: Benchmark, study_name: str) -> tuple[dict[str, Variant], str]:
    """The variants of a study in a benchmark, and the title of its baseline's value on the study's axis.

    A variant with all the baseline's values, also of ``separation``, is the baseline under another name: it is left
    out, and its title is the second value (else the baseline's own).

    Raises:
        InputError: an unknown study, a bad delta, or the name of an untrained system.
    """
    study, by_name = read_study(study_name, benchmark.place.ablations), {}
    if study.baseline in benchmark.without:
        raise InputError(f"{benchmark.name}: without: {study.baseline} is a study's baseline; expected other variants")
    for name, delta in deltas(study_name, benchmark.place.ablations).items():
        source = f"ablations/{study_name}.yaml: variants.{name}"
        if is_untrained(name):
            raise InputError(f"{source}: is the name of an untrained system; expected another")
        if name in benchmark.without:
            continue
        document = merge(benchmark.variant, delta)
        by_name[name] = checked(Variant, document, source)
        if override := benchmark.overrides.get(name):
            by_name[name] = checked(Variant, merge(document, override), f"{benchmark.name}: overrides.{name}")
    baseline = by_name[study.baseline]
    values = (baseline.content, baseline.separation)
    repeats = [name for name, v in by_name.items() if (v.content, v.separation) == values and name != study.baseline]
    title = by_name[repeats[0]].title if repeats else baseline.title
    return {name: variant for name, variant in by_name.items() if name not in repeats}, title or study.baseline


def untrained(benchmark: Benchmark, trained: Mapping[str, Variant]) -> list[str]:
    """Systems that are not trained here: baselines at the scale's STFT, bounds of the ``trained``, external ones."""
    transform = checked(Variant, benchmark.variant, f"{benchmark.name}: variant").model.transform
    stft = (transform.window, transform.hop) if transform else None
    oracles = {name: parse(name) for name in benchmark.baselines}
    baselines = [oracle._replace(stft=stft).name if oracle else name for name, oracle in oracles.items()]
    bounds = [variant.oracle_bound for variant in trained.values() if variant.oracle_bound]
    return list(dict.fromkeys([*baselines, *bounds, *(f"{EXTERNAL}{name}" for name in benchmark.external)]))


def find_shared_models(by_name: Mapping[str, Variant]) -> dict[str, str]:
    """Variant -> the variant whose trained model serves it too, for those that differ from it only in ``separation``.

    ``by_name`` is of ``variants``; the first of several is trained.
    """
    first: dict[str, str] = {}
    models = {name: first.setdefault(json.dumps(v.content, sort_keys=True), name) for name, v in by_name.items()}
    return {name: model for name, model in models.items() if model != name}


def resolve(
    benchmark: Benchmark,
    name: str,
    seed: int,
    by_name: Mapping[str, Variant] | None = None,
    leading: tuple[str, ...] = (),
) -> Resolved:
    """The variant ``name`` for one seed of a benchmark: what training reads.

    ``by_name``, of ``variants``, spares reading the studies again; ``leading`` are variants that start from this one.

    Raises:
        InputError: no study of the benchmark has a variant of that name, or its values do not fit the benchmark.
    """
    by_name = variants(benchmark) if by_name is None else by_name
    if name not in by_name:
        raise InputError(f"{benchmark.name}: unknown variant {name!r}; {nearest(name, list(by_name))}")
    corpus, variant = benchmark.corpus, by_name[name]
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
        document |= _find_init(benchmark, variant.init_from, seed, (*leading, f"{benchmark.name}/{name}"))
    return checked(Resolved, document, f"{benchmark.name}: variant {name}")


def resolve_rate(benchmark: Benchmark, name: str, factor: float) -> Resolved:
    """A variant to try a learning rate with, ``factor`` times its own, as ``benchmark.learning_rates`` says.

    Raises:
        InputError: as ``resolve``; the benchmark tries no rates.
    """
    if benchmark.learning_rates is None:
        raise InputError(f"{benchmark.name}: learning_rates is not given; expected which learning rates to try")
    untuned = benchmark.model_copy(update={"learning_rates": None, "lengths": 1})
    by_name = variants(untuned)
    if name in by_name:
        shorter = shorten(by_name[name], benchmark.learning_rates.share)
        by_name[name] = with_rate(shorter, factor * shorter.training.learning_rate)
    return resolve(untuned, name, benchmark.learning_rates.seed, by_name)


def _find_init(benchmark: Benchmark, init: InitFrom, seed: int, leading: tuple[str, ...]) -> dict[str, str]:
    """The model file that a training starts from, and the identity of the run that makes it."""
    source = f"{leading[-1]}: init_from"
    other, by_name = read_source(benchmark, init, source)
    if other.name != benchmark.name and seed not in other.seeds_of(init.variant):
        raise InputError(f"{source}: {init.benchmark} has no seed {seed}; expected one of {other.seeds}")
    if f"{other.name}/{init.variant}" in leading:
        raise InputError(f"{source}: {init.variant!r} is circular; expected no cycle")
    trained = resolve(other, init.variant, seed, by_name, leading)
    folder = run_folder(results_of(other.name), find_shared_models(by_name).get(init.variant, init.variant), seed)
    return {"init_model": (folder / MODEL).as_posix(), "init_identity": trained.identity}


def read_source(
    benchmark: Benchmark, init: InitFrom, source: str = "init_from"
) -> tuple[Benchmark, dict[str, Variant]]:
    """The benchmark that trains what a variant starts from, whole, and its variants; its speech need not be there.

    Raises:
        InputError: there is no such benchmark beside this one; ``source`` names the key.
    """
    if init.benchmark in (None, benchmark.name):
        return benchmark.whole, variants(benchmark.whole)
    path = benchmark.place.folder / f"{init.benchmark}.yaml"
    if not path.is_file():
        raise InputError(f"{source}: {path}: no such file; expected the file of the benchmark {init.benchmark}")
    return _read_once(path, benchmark.place.ablations, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=20)
def _read_once(path: Path, ablations: Path, changed_ns: int) -> tuple[Benchmark, dict[str, Variant]]:
    other = read_for_counting(path, ablations=ablations, check=False)
    return other, variants(other)


# --- reading -------------------------------------------------------------------------------------------------------


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
        file, document = document, read_yaml(document)
    source, folder = str(file or "config"), file.parent if file else Path("config")
    content = _add_base(document, folder)
    in_file = _add_base(read_yaml(file), folder) if file and file.is_file() else {}
    in_file = in_file if isinstance(in_file, dict) else {}
    studies = in_file.get("studies", [])
    studies = [studies] if isinstance(studies, str) else studies
    if isinstance(content, dict) and isinstance(asked := content.get("studies"), str):
        content["studies"] = studies if asked == ALL else [asked]
    benchmark = checked(Benchmark, content, source)
    ablations = find_studies([*beside, folder])
    benchmark = benchmark.at(Place(folder, ablations, studies or benchmark.studies, in_file.get("lengths", 1)))
    checked(Variant, benchmark.variant, f"{source}: variant")
    for name, external in benchmark.external.items():
        if not Path(external.estimates).exists():
            raise InputError(
                f"{source}: external.{name}: {external.estimates}: no such folder or file; expected its estimates"
            )
    if check:
        _check_variants(benchmark, source)
    return benchmark


def _check_variants(benchmark: Benchmark, source: str) -> None:
    """Resolve every variant; keys by variant may name those of studies that are not run this time."""
    by_name, ablations = variants(benchmark), benchmark.place.ablations
    for key in ("overrides", "without", "more_seeds"):
        if elsewhere := sorted(set(getattr(benchmark, key)) - set(by_name)):
            every = {name for path in ablations.glob("*.yaml") for name in read_study(path.stem, ablations).variants}
            if unknown := [name for name in elsewhere if name not in every]:
                raise InputError(f"{source}: {key}.{unknown[0]}: no such variant; {nearest(unknown[0], sorted(every))}")
    for name in by_name:
        resolve(benchmark, name, benchmark.seeds[0], by_name)


def _add_base(document: Any, folder: Path, leading: tuple[Path, ...] = ()) -> Any:
    """A benchmark's content with the keys of its ``base``, a file beside it in ``folder``, where it lacks them."""
    content = locate_imports(document, folder)
    if not isinstance(content, dict) or "base" not in content:
        return content
    path = folder / str(content.pop("base"))
    if path.resolve() in leading:
        raise InputError(f"{path}: base is circular; expected no cycle")
    return merge(_add_base(read_yaml(path), path.parent, (*leading, path.resolve())), content)


def read_for_counting(
    path: Path, studies: list[str] | None = None, ablations: Path | None = None, check: bool = True
) -> Benchmark:
    """As ``read_benchmark``, of a file; the speech that it names need not be there. ``studies`` replace its own."""
    document = read_yaml(path)
    if isinstance(document, dict):
        document = {"librispeech": "LibriSpeech", **document, **({"studies": studies} if studies else {})}
    return read_benchmark(document, path, [ablations.parent] if ablations else (), check)
