"""A results folder made of random numbers with a known structure, for the tests of the reporting."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from matplotlib.figure import Figure

RATE = 8000
SPEAKERS = {"1089": "M", "121": "F", "237": "F", "260": "M", "672": "M", "908": "F"}


def scores(
    variant: str,
    gain_db: float,
    seeds: tuple[int, ...] = (1, 2),
    stitchings: tuple[str, ...] = ("blind", "oracle"),
    per_pair: int = 2,
) -> pd.DataFrame:
    """Rows of one variant with a mean SI-SDRi near ``gain_db``; what is hard for one variant is hard for all."""
    rows = []
    for seed, stitching in itertools.product(seeds, stitchings):
        hard = np.random.default_rng(0)
        rng = np.random.default_rng([seed, len(stitching), *variant.encode()])
        for first, second in itertools.combinations(SPEAKERS, 2):
            for take in range(per_pair):
                level, effect = hard.normal(0, 2), hard.normal(0, 1)
                for source, speaker in enumerate((first, second), start=1):
                    gained = gain_db + effect + rng.normal(0, 0.5) + (1 if stitching == "oracle" else 0)
                    rows.append(
                        {
                            "benchmark": "made",
                            "variant": variant,
                            "seed": seed,
                            "mixture_id": f"{first}-134686-{take:04d}_{second}-121726-{take:04d}",
                            "source": source,
                            "speaker_id": speaker,
                            "sex": SPEAKERS[speaker],
                            "pair": "".join(sorted(SPEAKERS[first] + SPEAKERS[second])),
                            "duration_s": 3.0 + take,
                            "stitching": stitching,
                            "input_si_sdr_db": level,
                            "si_sdr_db": level + gained,
                            "si_sdri_db": gained,
                            "sdr_db": level + gained + 0.4,
                            "sdri_db": gained + 0.3,
                            "pesq": 1.5 + 0.1 * gained,
                            "input_pesq": 1.5,
                            "stoi": 0.7 + 0.01 * gained,
                            "input_stoi": 0.7,
                            "estoi": 0.5 + 0.02 * gained,
                            "input_estoi": 0.5,
                            "assignment_accuracy": 0.8 + 0.01 * gained,
                            "permutation": "0,1",
                            "failure": "",
                        }
                    )
    return pd.DataFrame(rows)


def make(
    folder: Path,
    variants: dict[str, float],
    seeds: tuple[int, ...] = (1, 2),
    examples: int = 2,
    studies: dict[str, list[str]] | None = None,
) -> Path:
    """Write a results folder: the mixture, one oracle, and ``variants`` (name: mean SI-SDRi in dB).

    ``studies`` names the variants of each study, its baseline first; by default there is one, of all variants.
    """
    gains = {"mixture": 0.0, "oracle-magnitude": 12.0} | variants
    benchmark = {
        "name": "made",
        "title": "Made-up benchmark",
        "rate": RATE,
        "variants": list(gains),
        "seeds": list(seeds),
        "studies": [
            {
                "name": name,
                "title": name.capitalize(),
                "question": f"Does the {name} matter?",
                "baseline": members[0],
                "variants": members,
            }
            for name, members in (studies or {"decoder": list(variants)}).items()
        ],
        "test_description": "mixtures of two synthesized speakers",
        "train_description": "synthesized speech, 100 speakers",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmark.json").write_text(json.dumps(benchmark))
    for variant, gain in gains.items():
        trained = variant in variants
        for seed in seeds if trained else (0,):
            run = folder / "runs" / variant / f"seed{seed}"
            run.mkdir(parents=True)
            stitchings = ("blind", "oracle") if trained else ("none",)
            rows = scores(variant, gain, (seed,), stitchings)
            if variant == "mixture":
                rows["si_sdri_db"] = 0.0
            rows.to_parquet(run / "scores.parquet")
            _write_json(run / "config.json", _config(variant, seed))
            evaluated = {"commit": "1" * 40, "mixtures": 30, "real_time_factor": 0.01 * seed + 0.02}
            _write_json(run / "evaluation.json", evaluated)
            if trained:
                _write_json(run / "system.json", _system(len(variant), seed))
                _history(gain, seed).to_csv(run / "history.csv", index=False)
            for mixture in rows["mixture_id"].unique()[:examples]:
                _example(run / "examples" / mixture, seed)
    return folder


def identify(results: Path, code: str = "made") -> Path:
    """Give the data and every run of a results folder an identity, and every run the digest of its code."""
    described = json.loads((results / "benchmark.json").read_text())
    identities: dict[str, dict[str, str]] = {}
    for path in sorted(results.glob("runs/*/seed*/config.json")):
        variant, seed = path.parts[-3], path.parts[-2].removeprefix("seed")
        trained = (path.parent / "system.json").is_file()
        if trained:
            identities.setdefault(variant, {})[seed] = f"{variant}, {seed}"
            _write_json(path, json.loads(path.read_text()) | {"run_identity": f"{variant}, {seed}"})
        for stage in ("train", "scores") if trained else ("scores",):
            _write_json(path.with_name(f"{stage}.stage.json"), {"code": f"{stage} by {code}"})
    same = {"data_identity": "the speech", "test_identity": "the mixtures", "identities": identities}
    _write_json(results / "benchmark.json", described | same)
    return results


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file."""
    _write_json(path, json.loads(path.read_text()) | changes)


def files_of(folder: Path) -> dict[str, bytes]:
    """Path in the folder -> content, of every file."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_no_figure(figure: Figure, path: Path) -> Path:
    """In the place of ``style.save``, where a test is not about figures, which take most of the time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("<svg></svg>")
    return path


def _write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value))


def _config(variant: str, seed: int) -> dict:
    """A name that ends in a number has so many slots; without it there are two."""
    slots = {"count": int(variant[-1]) if variant[-1].isdigit() else 2}
    config = {"name": variant, "title": f"The {variant}", "seed": seed, "benchmark": "made", "model": {"slots": slots}}
    return config | {"ceiling": "oracle-magnitude"}


def _system(size: int, seed: int) -> dict:
    return {
        "versions": {"torch": "2.11.0"},
        "device": "cpu",
        "threads": 2,
        "commit": "0" * 40,
        "command": "audioslots train",
        "parameters": 100_000 * size,
        "macs_per_second": 2.5e7 * size,
        "wall_s": 100.0 + seed,
        "peak_memory_bytes": 400 * 2**20 + seed,
        "steps": 1200,
        "numbers_a_slot": 128,
        "numbers_a_source": 4369,
        "train_subset": "train-clean",
        "train_hours": 2.5,
        "train_speakers": 100,
        "audio_s": 3600.0,
    }


def _history(gain: float, seed: int) -> pd.DataFrame:
    steps = np.arange(0, 1201, 50)
    rise = gain * (1 - np.exp(-steps / 300)) + 0.1 * seed
    return pd.DataFrame(
        {
            "step": steps,
            "loss": -rise,
            "learning_rate": 1e-3,
            "seconds": steps * 0.1,
            "audio_seconds_per_second": 160.0,
            "validation_si_sdri_db": np.where(steps % 200 == 0, rise, np.nan),
        }
    )


def _example(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True)
    time = np.arange(RATE) / RATE
    for index, name in enumerate(("mixture", "s1", "s2", "estimate1", "estimate2")):
        wave = 0.3 * np.sin(2 * np.pi * (200 + 150 * index + 40 * seed) * time * (1 + 0.5 * time))
        soundfile.write(folder / f"{name}.wav", wave, RATE, subtype="PCM_16")
