"""Fixtures for every test: a small made corpus, and the optional reference data beside the repository."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch comes: tests run side by side, and the models are tiny

import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import HealthCheck, settings
from scipy.signal import lfilter

# A slow machine gives the same verdict: no example is refused for the time that it takes to draw.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

RATE = 16_000
MADE_SUBSETS = {"train-clean": 6, "dev-clean": 4, "test-clean": 4}
UTTERANCES_PER_SPEAKER = 4


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before a test and its fixtures: global generators are at one seed, in any order of tests and in every run."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    if "speechbrain" in sys.modules:  # its lazy modules import absent packages where hypothesis looks at all modules
        for name, module in list(sys.modules.items()):
            if type(module).__name__ in ("LazyModule", "DeprecatedModuleRedirect"):
                del sys.modules[name]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of reference data (``librimix/``, ``librispeech/``); tests that ask for it are skipped without it."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("AUDIOSLOTS_SHARED", default))
    if not (folder / "librimix").is_dir() or not (folder / "librispeech").is_dir():
        pytest.skip(f"reference data absent: {folder} has no librimix/ and librispeech/ (set AUDIOSLOTS_SHARED)")
    return folder


def made_speech(pitch: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Harmonic tones through two wandering formants, in syllables with pauses: float64 ``[samples]`` at 16 kHz."""
    length = int(seconds * RATE)
    time = np.arange(length) / RATE
    glide = pitch * (1 + 0.08 * np.sin(2 * np.pi * (0.7 * time + rng.random())))
    phase = 2 * np.pi * np.cumsum(glide) / RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, int(3500 / pitch)))
    speech = np.zeros(length)
    for start in range(0, length, RATE // 5):
        piece = slice(start, min(start + RATE // 5, length))
        if rng.random() < 0.15:
            continue
        syllable = np.asarray(voice)[piece] * np.hanning(piece.stop - piece.start)
        for formant in (rng.uniform(300, 900), rng.uniform(1000, 2500)):
            radius, angle = 0.97, 2 * np.pi * formant / RATE
            syllable = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], syllable)
        speech[piece] = syllable
    speech += 1e-4 * rng.standard_normal(length)
    return 0.3 * speech / np.abs(speech).max()


@pytest.fixture(scope="session")
def made_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpus root in LibriSpeech's layout: ``train-clean`` (6 speakers), ``dev-clean`` (4), ``test-clean`` (4).

    Half of each subset's speakers are women; every speaker has one chapter with four utterances of 3 to 5 s. Treat
    it as read-only: copy it before damaging a file.
    """
    root = tmp_path_factory.mktemp("corpus")
    lines = [";ID  |SEX| SUBSET           |MINUTES| NAME"]
    speaker = 100
    for subset, speakers in MADE_SUBSETS.items():
        for index in range(speakers):
            speaker += 1
            rng = np.random.default_rng(speaker)
            sex = "FM"[index % 2]
            pitch = rng.uniform(180, 240) if sex == "F" else rng.uniform(90, 130)
            lines.append(f"{speaker:<5}| {sex} | {subset:<17}| {UTTERANCES_PER_SPEAKER * 4 / 60:.2f}  | Made {speaker}")
            chapter = root / subset / str(speaker) / "1"
            chapter.mkdir(parents=True)
            for utterance in range(UTTERANCES_PER_SPEAKER):
                speech = made_speech(pitch, rng.uniform(3.05, 5.0), rng)
                sf.write(chapter / f"{speaker}-1-{utterance:04d}.flac", speech, RATE, subtype="PCM_16")
    (root / "SPEAKERS.TXT").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root
