"""A small finished folder of mixtures, for tests of evaluation."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from made_systems import IDS, RATE


@pytest.fixture(scope="session")
def made_mixtures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished folder of three mixtures of two sources, 0.8 to 1.2 s at 8 kHz."""
    folder = tmp_path_factory.mktemp("mixtures") / "wav8k" / "min" / "test"
    rng = np.random.default_rng(0)
    listing, info = [], []
    for number, mixture_id in enumerate(IDS):
        length = 6400 + 1600 * number
        envelope = np.abs(np.sin(np.arange(length) * [[3e-3], [2e-3]])) ** 2
        sources = 0.1 * envelope * np.cumsum(rng.standard_normal((2, length)), axis=1)
        sources = 0.3 * np.diff(sources, axis=1, prepend=0.0) / np.abs(np.diff(sources, axis=1)).max()
        for name, waveform in {"mix_clean": sources.sum(0), "s1": sources[0], "s2": sources[1]}.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            sf.write(folder / name / f"{mixture_id}.wav", waveform, RATE, subtype="PCM_16")
        listing.append([mixture_id, f"mix/{mixture_id}.wav", "s1", "s2", length])
        info.append([mixture_id, "0" + str(number), "FM"[number % 2], "9", "F" if number < 2 else ""])
    metadata = folder.parent / "metadata"
    metadata.mkdir()
    columns = ["mixture_ID", "mixture_path", "source_1_path", "source_2_path", "length"]
    pd.DataFrame(listing, columns=columns).to_csv(metadata / "mixture_test_mix_clean.csv", index=False)
    columns = ["mixture_ID", "speaker_1_ID", "speaker_1_sex", "speaker_2_ID", "speaker_2_sex"]
    pd.DataFrame(info, columns=columns).to_csv(metadata / "info_test.csv", index=False)
    (folder / "manifest.json").write_text("{}")
    return folder


@pytest.fixture
def copied_mixtures(made_mixtures: Path, tmp_path: Path) -> Path:
    shutil.copytree(made_mixtures.parent, tmp_path / "min")
    return tmp_path / "min" / "test"
