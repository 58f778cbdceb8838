"""The ablations: every variant of every study trains, saves, loads and separates; and a new one is two files."""

from __future__ import annotations

import contextlib
import json
import math
import operator
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audioslots.config.benchmark import Benchmark, Place, members, resolve, variants
from audioslots.config.study import read_study
from audioslots.data.corpora.noise_synthesis import synthesize_noise
from audioslots.data.librimix.noise import PARTS
from audioslots.data.training.packing import pack
from audioslots.layout import MODEL
from audioslots.losses import LOSSES
from audioslots.models import MODELS
from audioslots.models.audioslots.config import DECODERS, ENCODERS, SLOTS
from audioslots.runtime.files import read_json, write_json
from audioslots.schema import checked
from audioslots.separation.separator import Separator
from audioslots.separation.weights import load_model
from audioslots.training.trainer import Machine, Trainer

ROOT = Path(__file__).resolve().parents[2]
ABLATIONS = ROOT / "ablations"
STUDIES = sorted(path.stem for path in ABLATIONS.iterdir() if path.suffix in (".yaml", ".yml"))
SUBSETS = ("train-clean", "dev-clean")

# One scale for all studies: the code path of any benchmark, at widths at which a step takes milliseconds.
SMALL: dict[str, Any] = {
    "name": "small",
    "title": "Small",
    "rate": 8000,
    "seeds": [0],
    "corpus": {"kind": "synthesized", "validation": "dev-clean"},
    "test": {"subset": "test-clean"},
    "studies": [study for study in STUDIES if study != "noise"],
    "variant": {
        "model": {
            **{"width": 16, "heads": 2, "mlp": 16},
            "spectrogram": {"window": 256, "hop": 128},
            "encoder": {"kind": "frames", "layers": 1, "kernel": 3},
            "slots": {"layers": 1},
            "decoder": {"kind": "unfolded", "layers": 1},
        },
        "training": {"steps": 2, "batch": 4, "warmup": 1, "validation_mixtures": 4},
        "separation": {"longest_s": 1.0},
    },
}
SIZES = {"resnet": {"blocks": [1, 1]}, "broadcast": {"width": 8}, "broadcast_cnn": {"width": 8}}
IN_NOISE: dict[str, Any] = {"task": "sep_noisy", "noise": {"hours": 0.1}}
READ = {study: read_study(study, ABLATIONS) for study in STUDIES}
STUDY_OF = {name: study for study, read in reversed(READ.items()) for name in read.variants}


def short(delta: dict[str, Any], batch: int) -> dict[str, Any]:
    """Few steps, or none, small parts, and crops that the made utterances are long enough for, whatever a delta says.

    A Conv-TasNet keeps its depth and loses its width.
    """
    training, model = delta.get("training", {}), delta.get("model", {})
    chunks = min(8, training.get("chunks_per_assignment", 1))
    few = {"steps": min(2, training.get("steps", 2)), "batch": math.lcm(batch, chunks), "warmup": 1}
    values: dict[str, Any] = {"training": few | ({"chunks_per_assignment": chunks} if chunks > 1 else {})}
    if "chunk_s" in delta:
        values["chunk_s"] = min(2.5, delta["chunk_s"])
    if model.get("kind") == "conv_tasnet":
        values["model"] = {"filters": 16, "features": 8, "hidden": 16}
    else:
        parts = {key: model[key].get("kind") for key in ("encoder", "decoder") if key in model}
        values["model"] = {key: SIZES[kind] for key, kind in parts.items() if kind in SIZES}
    return values


# A baseline's batch is another than its variants', else one that has its values on the axis would be left out.
SHORT = {read.baseline: short(read.variants[read.baseline], 4) for read in READ.values()} | {
    name: short(delta, 8) for read in READ.values() for name, delta in read.variants.items() if name != read.baseline
}


def benchmark(*others: str, **values: Any) -> Benchmark:
    """The small benchmark; ``others`` are studies of its file that are not asked for."""
    read = checked(Benchmark, SMALL | values, "small.yaml")
    return read.at(Place(ROOT / "config", ABLATIONS, [*read.studies, *others]))


def benchmark_of(study: str) -> Benchmark:
    """The same of one study, with the data that it asks for, and with the studies of what its variants start from."""
    deltas = READ[study].variants.values()
    initial = [init["variant"] for delta in deltas if (init := delta.get("init_from")) and "benchmark" not in init]
    others = {STUDY_OF[name] for name in initial if name not in READ[study].variants}
    return benchmark(*others, studies=[study], overrides=SHORT, **(IN_NOISE if study == "noise" else {}))


@pytest.fixture(scope="module")
def data(made_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a benchmark's relative paths lead from, with speech packed at 8 kHz."""
    root = tmp_path_factory.mktemp("small")
    for subset in SUBSETS:
        pack(made_corpus, subset, root / subset, 8000)
    synthesize_noise(root / "wham", made_corpus, dict.fromkeys(PARTS, "train-clean"), 0.01, 0)
    for part in ("tr", "cv"):
        pack(root / "wham", part, root / "noise" / part, 8000, noise=True)
    return root


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folders, by identity: variants that differ in separation alone share one, as in the workflow."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize(
    ("name", "study"),
    [item for item in STUDY_OF.items() if item[1] != "systems"],  # of other packages: tests/training/test_systems.py
)
def test_every_variant_of_every_study_trains_saves_loads_and_separates(
    name: str, study: str, data: Path, runs: Path
) -> None:
    config = resolve(benchmark_of(study), name, 0)
    places = {"train": str(data / SUBSETS[0]), "validation": str(data / SUBSETS[1])}
    config = config.model_copy(update=places | ({"noise": str(data / "noise")} if config.noise else {}))
    if config.init_model:  # in place of the run that it names, one of the same parts
        first = runs / f"{name}-first"
        unlike = {"init_from": None, "init_model": None, "init_identity": None}
        unlike["training"] = config.training.model_copy(update={"steps": 2})
        Trainer(config.model_copy(update=unlike), first, Machine("cpu")).train()
        config = config.model_copy(update={"init_model": str(first / MODEL)})
    out = runs / config.identity
    if not out.exists():
        Trainer(config, out, Machine("cpu")).train()
        assert load_model(out)[1] == config
    assert read_json(out / "system.json")["steps"] == config.training.steps
    write_json(out / f"{name}.json", config.document())
    separator = Separator.load(out, config=out / f"{name}.json")
    assert separator.config == config
    mixture = 0.1 * torch.randn(round(3.2 * 8000), generator=torch.Generator().manual_seed(0))
    assert len(mixture) > max(config.chunk, config.separation.longest_s * 8000), "longer than a chunk"
    estimates = separator.by_stitching(mixture.numpy(), torch.stack([mixture, mixture.flip(0)]).numpy())
    assert estimates["blind"].shape == estimates["oracle"].shape == (2, len(mixture))
    assert np.isfinite(estimates["blind"]).all() and np.square(estimates["blind"]).mean() > 1e-8


# --- the studies' files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_asks_a_question_and_its_variants_and_their_titles_differ(study: str) -> None:
    assert READ[study].title and READ[study].question.endswith("?")
    of_study, _ = members(benchmark_of(study), study)
    runs = {
        json.dumps([variant.content, variant.separation.model_dump()], sort_keys=True) for variant in of_study.values()
    }
    titles = {variant.title for variant in of_study.values()}
    assert all(titles) and len(of_study) == len(runs) == len(titles) > 1


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("model.kind", set(MODELS.configs) - {"imported"}),
        ("model.encoder.kind", ENCODERS.configs),
        ("model.slots.kind", SLOTS.configs),
        ("model.decoder.kind", DECODERS.configs),
        ("model.output", ["magnitude", "softmax", "sigmoid", "complex"]),
        ("model.slots.count", [2, 3, 4, 8]),
        ("training.loss", LOSSES),
        ("training.assignment", ["pit", "fixed", "mixit"]),
        ("training.exponent", [0.3, 0.5, 1.0]),
        ("chunk_s", [0.25, 0.5, 1.0, 2.0]),
    ],
)
def test_every_value_of_an_axis_is_in_some_study(key: str, values: Iterable[Any]) -> None:
    used = set()
    for variant in variants(benchmark(overrides=SHORT)).values():
        with contextlib.suppress(AttributeError):  # a key of other kinds
            used.add(operator.attrgetter(key)(variant))
    assert set(values) <= used


# --- a new decoder -------------------------------------------------------------------------------------------------

DECODER = '''
from typing import Literal
from torch import nn
from audioslots.schema import Section

class Config(Section):
    kind: Literal["flat"] = "flat"

class Decoder(nn.Module):
    """One linear map of the slot."""

    def __init__(self, config, sizes):
        super().__init__()
        self.sizes = (sizes.channels, sizes.bins, sizes.frames)
        self.maps = nn.Linear(sizes.slot_size, sizes.channels * sizes.bins * sizes.frames)

    def forward(self, slots, tokens):
        return self.maps(slots).unflatten(-1, self.sizes)
'''
STUDY = """
title: Flat
question: Is one linear map of the slot enough?
from: audioslots/audioslots
baseline: audioslots
variants:
  audioslots: {}
  decoder-flat: {title: One linear map, model: {decoder: {kind: flat}}}
"""
SCRIPT = """
import json, sys
from pathlib import Path
import torch
from audioslots.config.benchmark import read_benchmark, resolve
from audioslots.config.summary import summary
from audioslots.separation.separator import Separator
from audioslots.training.trainer import Machine, Trainer

document, places, out = json.loads(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
benchmark = read_benchmark(document, Path("config/small.yaml"))
Trainer(resolve(benchmark, "decoder-flat", 0).model_copy(update=places), out, Machine("cpu")).train()
separator = Separator.load(out)
blind = separator.separate(torch.randn(10_000), 8000)
decoder = type(separator.model.decoder).__module__
print(json.dumps({"studies": summary(benchmark)["studies"], "shape": list(blind.shape), "decoder": decoder}))
"""


def test_a_new_decoder_is_one_class_and_one_yaml(data: Path, tmp_path: Path) -> None:
    """In a copy of the repository to which these two files are added, and nothing else is done.

    Its studies are those above the benchmark's file, so those of the copy.
    """
    for folder in ("audioslots", "ablations"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "audioslots" / "models" / "audioslots" / "decoders" / "flat.py").write_text(DECODER)
    (tmp_path / "ablations" / "flat.yaml").write_text(STUDY)
    places = {"train": str(data / SUBSETS[0]), "validation": str(data / SUBSETS[1])}
    arguments = [json.dumps(SMALL | {"studies": ["audioslots", "flat"]}), json.dumps(places), str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["decoder"] == "audioslots.models.audioslots.decoders.flat" and result["shape"] == [2, 10_000]
    assert result["studies"][1]["variants"] == ["audioslots", "decoder-flat"]
