"""A results folder of random numbers with a known structure, for the tests of the reporting."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

RATE = 8000
SPEAKERS = {"1089": "M", "121": "F", "237": "F", "260": "M", "672": "M", "908": "F"}


def make_scores(
    variant: str,
    gain_db: float,
    seeds: tuple[int, ...] = (1, 2),
    stitchings: tuple[str, ...] = ("blind", "oracle"),
    per_pair: int = 2,
) -> pd.DataFrame:
    """Rows of one variant with a mean SI-SDRi near ``gain_db``; hard mixtures are hard for all variants."""
    rows = []
    for seed, stitching in itertools.product(seeds, stitchings):
        hard = np.random.default_rng(0)
        rng = np.random.default_rng([seed, len(stitching), *variant.encode()])
        for first, second in itertools.combinations(SPEAKERS, 2):
            for take in range(per_pair):
                level, effect = hard.normal(0, 2), hard.normal(0, 1)
                for source, speaker in enumerate((first, second), start=1):
                    gain = gain_db + effect + rng.normal(0, 0.5) + (1 if stitching == "oracle" else 0)
                    rows.append(
                        {
                            **{"benchmark": "made", "variant": variant, "seed": seed},
                            "mixture_id": f"{first}-134686-{take:04d}_{second}-121726-{take:04d}",
                            **{"source": source, "speaker_id": speaker, "sex": SPEAKERS[speaker]},
                            "pair": "".join(sorted(SPEAKERS[first] + SPEAKERS[second])),
                            **{"duration_s": 3.0 + take, "stitching": stitching, "input_si_sdr_db": level},
                            **{"si_sdr_db": level + gain, "si_sdri_db": gain},
                            **{"sdr_db": level + gain + 0.4, "sdri_db": gain + 0.3},
                            **{"pesq": 1.5 + 0.1 * gain, "input_pesq": 1.5},
                            **{"stoi": 0.7 + 0.01 * gain, "input_stoi": 0.7},
                            **{"estoi": 0.5 + 0.02 * gain, "input_estoi": 0.5},
                            **{"assignment_accuracy": 0.8 + 0.01 * gain, "permutation": "0,1", "failure": ""},
                        }
                    )
    return pd.DataFrame(rows)


def make_results(
    folder: Path,
    variants: dict[str, float],
    seeds: tuple[int, ...] = (1, 2),
    examples: int = 0,
    studies: dict[str, list[str]] | None = None,
) -> Path:
    """Write a results folder: the mixture, one oracle, and ``variants`` (name: mean SI-SDRi in dB).

    ``studies`` names the variants of each study, its baseline first; by default there is one, of all variants.
    """
    gains = {"mixture": 0.0, "oracle-magnitude": 12.0} | variants
    described = []
    for name, members in (studies or {"decoder": list(variants)}).items():
        about = {"name": name, "title": name.capitalize(), "question": f"Does the {name} matter?"}
        described.append(about | {"baseline": members[0], "variants": members})
    benchmark = {
        **{"name": "made", "title": "Made-up benchmark", "rate": RATE, "variants": list(gains), "seeds": list(seeds)},
        "studies": described,
        "test_description": "mixtures of two synthesized speakers",
        "train_description": "synthesized speech, 100 speakers",
    }
    write_json(folder / "benchmark.json", benchmark)
    for variant, gain in gains.items():
        trained = variant in variants
        for seed in seeds if trained else (0,):
            run = folder / "runs" / variant / f"seed{seed}"
            rows = make_scores(variant, gain, (seed,), ("blind", "oracle") if trained else ("none",))
            if variant == "mixture":
                rows["si_sdri_db"] = 0.0
            config = {"name": variant, "title": f"The {variant}", "seed": seed, "oracle_bound": "oracle-magnitude"}
            write_json(run / "config.json", config | {"model": {"kind": "audioslots"}})
            write_json(run / "evaluation.json", {"commit": "1" * 40, "real_time_factor": 0.01 * seed + 0.02})
            rows.to_parquet(run / "scores.parquet")
            if trained:
                write_json(run / "system.json", _make_system(len(variant), seed))
                _make_history(gain, seed).to_csv(run / "history.csv", index=False)
            for mixture in rows["mixture_id"].unique()[:examples]:
                _write_example(run / "examples" / mixture, seed)
    return folder


def identify(results: Path, code: str = "made") -> Path:
    """Give the data and every run of a results folder an identity, and every run the digest of its code."""
    identities: dict[str, dict[str, str]] = {}
    for path in sorted(results.glob("runs/*/seed*/config.json")):
        variant, seed = path.parts[-3], path.parts[-2].removeprefix("seed")
        is_trained = (path.parent / "system.json").is_file()
        if is_trained:
            identities.setdefault(variant, {})[seed] = f"{variant}, {seed}"
            edit_json(path, run_identity=f"{variant}, {seed}")
        for stage in ("train", "scores") if is_trained else ("scores",):
            write_json(path.with_name(f"{stage}.stage.json"), {"code": f"{stage} by {code}"})
    same = {"data_identity": "the speech", "test_identity": "the mixtures", "identities": identities}
    edit_json(results / "benchmark.json", **same)
    return results


def edit_json(path: Path, **changes: Any) -> None:
    write_json(path, json.loads(path.read_text()) | changes)


def edit_scores(results: Path, runs: str, **columns: Any) -> None:
    """Set columns of the scores of runs, which a pattern names."""
    for path in results.glob(f"runs/{runs}/scores.parquet"):
        pd.read_parquet(path).assign(**columns).to_parquet(path)


def read_tree(folder: Path) -> dict[str, bytes]:
    """Path in the folder -> content, of every file."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_report(out: Path, table: str) -> pd.DataFrame:
    """A table of a report."""
    return pd.read_csv(out / "tables" / f"{table}.csv", keep_default_na=False, na_values=[""])


def write_json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _make_system(size: int, seed: int) -> dict:
    return {
        **{"versions": {"torch": "2.11.0"}, "device": "cpu", "threads": 2, "commit": "0" * 40},
        **{"parameters": 100_000 * size, "macs_per_second": 2.5e7 * size, "wall_s": 100.0 + seed, "steps": 1200},
        **{"peak_memory_bytes": 400 * 2**20 + seed, "slot_size": 128, "spectrogram_size": 4369},
        **{"train_subset": "train-clean", "train_hours": 2.5, "train_speakers": 100},
    }


def _make_history(gain: float, seed: int) -> pd.DataFrame:
    steps = np.arange(0, 1201, 50)
    rise = gain * (1 - np.exp(-steps / 300)) + 0.1 * seed
    validated = np.where(steps % 200 == 0, rise, np.nan)
    return pd.DataFrame({"step": steps, "loss": -rise, "validation_si_sdri_db": validated})


def _write_example(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True)
    time = np.arange(RATE) / RATE
    for index, name in enumerate(("mixture", "s1", "s2", "estimate1", "estimate2")):
        wave = 0.3 * np.sin(2 * np.pi * (200 + 150 * index + 40 * seed) * time * (1 + 0.5 * time))
        soundfile.write(folder / f"{name}.wav", wave, RATE, subtype="PCM_16")
