"""The ablations: every variant of every study trains, saves, loads and separates; and a new one is two files."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audioslots.config.architecture import kinds

from audioslots.config.benchmark import Benchmark, Place, members, resolve, variants
from audioslots.config.study import read_study
from audioslots.config.variant import Variant, checked
from audioslots.data.corpora.noise_synthesis import synthesize_noise
from audioslots.data.librimix.noise import PARTS
from audioslots.data.training.packing import pack
from audioslots.layout import MODEL
from audioslots.losses import LOSSES
from audioslots.models.audioslots.outputs import OUTPUTS
from audioslots.runtime.files import read_json, write_json
from audioslots.separation.separate import Separator
from audioslots.separation.weights import MODELS, load_model
from audioslots.training.trainer import Trainer

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
        "spectrogram": {"window": 256, "hop": 128},
        "encoder": {"kind": "frames", "blocks": [1, 1], "width": 16, "layers": 1, "heads": 2, "mlp": 16, "kernel": 3},
        "slots": {"layers": 1},
        "decoder": {"kind": "unfolded", "width": 8, "layers": 1},
        "training": {"steps": 2, "batch": 4, "warmup": 1, "validation_mixtures": 4},
        "separation": {"longest_s": 1.0},
    },
}
IN_NOISE: dict[str, Any] = {"task": "sep_noisy", "noise": {"hours": 0.1}}
READ = {study: read_study(study, ABLATIONS) for study in STUDIES}
NAMES = {study: list(READ[study].variants) for study in STUDIES}
STUDY_OF = {name: study for study, names in NAMES.items() for name in names}


def short(delta: dict[str, Any], batch: int) -> dict[str, Any]:
    """Few steps, or none, and crops that the made utterances are long enough for, whatever a delta says.

    A Conv-TasNet keeps its depth and loses its width.
    """
    training = delta.get("training", {})
    chunks = min(8, training.get("chunks_per_assignment", 1))
    few = {"steps": min(2, training.get("steps", 2)), "batch": math.lcm(batch, chunks), "warmup": 1}
    values: dict[str, Any] = {"training": few | ({"chunks_per_assignment": chunks} if chunks > 1 else {})}
    if "chunk_s" in delta:
        values["chunk_s"] = min(2.5, delta["chunk_s"])
    if delta.get("model") == "conv_tasnet":
        values["conv_tasnet"] = {"filters": 16, "hidden": 16}
    return values


# A baseline's batch is another than its variants', else one that has its values on the axis would be left out.
SHORT = {study.baseline: short(study.variants[study.baseline], 4) for study in READ.values()} | {
    name: short(delta, 8) for study in READ.values() for name, delta in study.variants.items() if name != study.baseline
}


def benchmark(*others: str, **values: Any) -> Benchmark:
    """The small benchmark; ``others`` are studies of its file that are not asked for."""
    read = checked(Benchmark, SMALL | values, "small.yaml")
    return read.at(Place(ROOT / "config", ABLATIONS, [*read.studies, *others]))


def benchmark_of(study: str) -> Benchmark:
    """The same of one study, with the data that it asks for, and with the studies of what its variants start from."""
    deltas = READ[study].variants.values()
    initial = [init["variant"] for delta in deltas if (init := delta.get("init_from")) and "benchmark" not in init]
    others = {STUDY_OF[name] for name in initial if name not in NAMES[study]}
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


def run(name: str, data: Path, runs: Path, small: Benchmark) -> torch.Tensor:
    """Train a variant two steps, load what was saved, and separate a recording with it: (S, T)."""
    config = resolve(small, name, 0)
    places = {"train": str(data / SUBSETS[0]), "validation": str(data / SUBSETS[1])}
    config = config.model_copy(update=places | ({"noise": str(data / "noise")} if config.noise else {}))
    first = runs / f"{name}-first"
    if config.init_model:  # in place of the run that it names, of the same parts
        config = config.model_copy(update={"init_model": str(first / MODEL)})
    out = runs / config.identity
    if not out.exists():
        if config.init_model:
            initial = dict.fromkeys(("init_from", "init_model", "init_identity"))
            steps = {"training": config.training.model_copy(update={"steps": 2})}
            Trainer(config.model_copy(update=initial | steps), first, accelerator="cpu").train()
        Trainer(config, out, accelerator="cpu").train()
        assert load_model(out)[1] == config
    assert read_json(out / "system.json")["steps"] == config.training.steps
    write_json(out / f"{name}.json", config.document())
    separator = Separator.load(out, config=out / f"{name}.json")
    assert separator.config == config
    assert isinstance(separator.model, MODELS[config.model])
    mixture = 0.1 * torch.randn(round(3.2 * 8000), generator=torch.Generator().manual_seed(0))
    assert len(mixture) > max(config.chunk, config.separation.longest_s * 8000), "longer than a chunk"
    blind, oracle = separator.estimates(mixture, torch.stack([mixture, mixture.flip(0)]))
    assert oracle is not None and oracle.shape == blind.shape
    return blind


@pytest.mark.parametrize(
    ("name", "study"), {name: study for study, names in reversed(NAMES.items()) for name in names}.items()
)
def test_every_variant_of_every_study_trains_saves_loads_and_separates(
    name: str, study: str, data: Path, runs: Path
) -> None:
    blind = run(name, data, runs, benchmark_of(study))
    assert blind.shape == (2, round(3.2 * 8000))
    assert torch.isfinite(blind).all()
    assert blind.square().mean() > 1e-8


# --- the studies' files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_has_a_title_a_question_and_a_baseline(study: str) -> None:
    read = READ[study]
    assert read.title
    assert read.question.endswith("?")
    assert read.baseline in read.variants and len(read.variants) > 1


@pytest.mark.parametrize("study", STUDIES)
def test_no_two_variants_of_a_study_are_the_same_and_each_has_a_title_of_its_own(study: str) -> None:
    found = members(benchmark_of(study), study)[0]
    contents = [json.dumps([one.content, one.separation.model_dump()], sort_keys=True) for one in found.values()]
    assert len(set(contents)) == len(found)
    titles = [variant.title for variant in found.values()]
    assert all(titles) and len(set(titles)) == len(found)


def values_used(key: str) -> set[Any]:
    """The values of a variant's key in all studies."""
    section, _, leaf = key.partition(".")
    return {getattr(getattr(variant, section), leaf) for variant in variants(benchmark(overrides=SHORT)).values()}


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("encoder.kind", kinds("encoders")),
        ("slots.kind", kinds("slots")),
        ("decoder.kind", kinds("decoders")),
        ("decoder.output", list(OUTPUTS)),
        ("training.loss", list(LOSSES)),
        ("training.assignment", ["pit", "fixed", "mixit"]),
        ("training.unmatched", ["silence", "free"]),
        ("training.mixing", ["dynamic", "static"]),
        ("training.exponent", [0.3, 0.5, 1.0]),
        ("slots.count", [2, 3, 4, 8]),
        ("slots.recursive", [False, True]),
        ("slots.iterations", [1, 2, 3, 4, 5]),
    ],
)
def test_every_value_of_an_axis_is_in_some_study(key: str, known: list[Any]) -> None:
    assert set(known) <= values_used(key)


def test_every_chunk_and_every_model_is_in_some_study() -> None:
    found = variants(benchmark(overrides=SHORT)).values()
    assert {variant.chunk_s for variant in found} >= {0.25, 0.5, 1.0, 2.0}
    assert {variant.model for variant in found} == set(MODELS)


def test_every_output_and_loss_of_the_config_is_one_that_exists() -> None:
    schema = Variant.model_json_schema()["$defs"]
    assert set(schema["Decoder"]["properties"]["output"]["enum"]) == set(OUTPUTS)
    assert set(schema["Training"]["properties"]["loss"]["enum"]) == set(LOSSES)


# --- a new decoder -------------------------------------------------------------------------------------------------

DECODER = '''
from torch import nn

class Decoder(nn.Module):
    """One linear map of the slot."""

    def __init__(self, variant, shape):
        super().__init__()
        self.sizes = (shape.channels, shape.bins, shape.frames)
        self.maps = nn.Linear(variant.encoder.width, shape.channels * shape.bins * shape.frames)

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
  decoder-flat: {title: One linear map, decoder: {kind: flat}}
"""
SCRIPT = """
import json, sys
from pathlib import Path
import torch
from audioslots.config.benchmark import read_benchmark, resolve
from audioslots.config.summary import summary
from audioslots.config.architecture import kinds
from audioslots.separation.separate import Separator
from audioslots.training.trainer import Trainer

document, places, out = json.loads(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
benchmark = read_benchmark(document, Path("config/small.yaml"))
config = resolve(benchmark, "decoder-flat", 0).model_copy(update=places)
Trainer(config, out, accelerator="cpu").train()
blind, _ = Separator.load(out).estimates(torch.randn(10_000))
found = {"kinds": kinds("decoders"), "summary": summary(benchmark), "shape": list(blind.shape)}
found["decoder"] = type(Separator.load(out).model.decoder).__module__
print(json.dumps(found))
"""


def test_a_new_decoder_is_one_class_and_one_yaml(data: Path, tmp_path: Path) -> None:
    """In a copy of the repository to which these two files are added, and nothing else is done.

    Its studies are those above the benchmark's file, so those of the copy.
    """
    for folder in ("audioslots", "ablations"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "audioslots" / "model" / "decoders" / "flat.py").write_text(DECODER)
    (tmp_path / "ablations" / "flat.yaml").write_text(STUDY)
    places = {"train": str(data / SUBSETS[0]), "validation": str(data / SUBSETS[1])}
    arguments = [json.dumps(SMALL | {"studies": ["audioslots", "flat"]}), json.dumps(places), str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert "flat" in found["kinds"]
    assert found["decoder"] == "audioslots.models.audioslots.decoders.flat"
    assert found["shape"] == [2, 10_000]
    assert "decoder-flat" in found["summary"]["variants"]
    (study,) = (study for study in found["summary"]["studies"] if study["name"] == "flat")
    assert study["variants"] == ["audioslots", "decoder-flat"]
    assert study["question"] == "Is one linear map of the slot enough?"
    assert np.isfinite(read_json(tmp_path / "run" / "system.json")["macs_per_second"])
