"""Spectrograms of what can be heard: a small picture a signal for the player, and a panel for papers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from scipy.signal import stft

from audioslots.files import written_aside
from audioslots.reporting.style import WIDTH, styled
from audioslots.reporting.words import short

COLOURS = "cividis"  # even in lightness, and the same for colour-blind eyes
RANGE_DB = 70
_HOP = 128  # samples
_COLUMNS = 360  # of a spectrogram in the panel, at most


def save_picture(audio: Path, out: Path, height: int = 128) -> None:
    """Write a spectrogram as a small PNG: 0 Hz at the bottom, 70 dB from dark to bright.

    Args:
        audio: a mono file.
        out: the PNG; its width follows the duration (one column a 128 samples), its height is ``height``.
        height: frequency bins, in pixels.
    """
    wave, _ = soundfile.read(audio, dtype="float32")
    shades = 16  # few shades make a small file
    index = np.clip(_level(_magnitude(wave, height))[::-1] * shades, 0, shades - 1).astype(np.uint8)
    picture = Image.fromarray(index, mode="P")
    picture.putpalette((colormaps[COLOURS](np.linspace(0, 1, shades))[:, :3] * 255).astype(np.uint8).tobytes())
    with written_aside(out) as aside:
        picture.save(aside, optimize=True)


@styled
def panel(systems: Mapping[str, Path]) -> Figure:
    """One mixture: itself and its references; of each system the estimates and, below, their share of the sound.

    The share of an estimate is |estimate| / (sum of all |estimates|) at each point of the spectrogram: the mask that
    its slot has in effect, whatever the decoder's kind of output.

    Args:
        systems: title -> folder of an example, with mixture.wav, s<k>.wav and estimate<k>.wav.
    """
    given = next(iter(systems.values()))
    sources = range(1, 1 + len(list(given.glob("s[0-9]*.wav"))))
    rows = 1 + 2 * len(systems)
    figure = Figure(figsize=(WIDTH, 0.5 + 1.15 * rows), layout="constrained")
    grid = figure.subplots(rows, 1 + len(sources), sharex=True, sharey=True, squeeze=False)
    mixture, size = _read(given / "mixture.wav")
    _show(grid[0, 0], _level(mixture), size, "Mixture")
    for k in sources:
        _show(grid[0, k], _level(_read(given / f"s{k}.wav")[0]), size, f"Reference {k}")
    for place, (title, folder) in enumerate(systems.items()):
        estimates = [_read(folder / f"estimate{k}.wav")[0] for k in sources]
        total = np.sum(estimates, axis=0) + 1e-9
        for row, words in ((1 + 2 * place, "estimate"), (2 + 2 * place, "mask")):
            label = f"{short(title, 40)}:\n{words}s" if words == "estimate" else "their masks,\n|estimate| / sum"
            grid[row, 0].text(0.0, 0.5, label, transform=grid[row, 0].transAxes, va="center", fontsize=8, wrap=True)
            grid[row, 0].set_axis_off()
        for k, estimate in zip(sources, estimates, strict=True):
            _show(grid[1 + 2 * place, k], _level(estimate), size, f"Estimate {k}")
            _show(grid[2 + 2 * place, k], estimate / total, size, f"Mask {k}")
    for axes in grid[-1, 1:]:
        axes.set_xlabel("s")
    grid[0, 0].set_ylabel("kHz")
    return figure


def _read(path: Path) -> tuple[np.ndarray, tuple[float, float]]:
    """Magnitude spectrogram (frequency, time), thinned to few columns; its length in s and highest frequency in kHz."""
    wave, rate = soundfile.read(path, dtype="float32")
    magnitude = _magnitude(wave, 96)
    return magnitude[:, :: max(1, magnitude.shape[1] // _COLUMNS)], (len(wave) / rate, rate / 2000)


def _magnitude(wave: np.ndarray, height: int) -> np.ndarray:
    """Magnitudes (frequency bins, time), without the bin of 0 Hz."""
    _, _, bins = stft(wave, nperseg=2 * height, noverlap=2 * height - _HOP, padded=len(wave) < 2 * height)
    return np.abs(bins[1 : height + 1])


def _level(magnitude: np.ndarray) -> np.ndarray:
    """Levels over a range of 70 dB below the loudest, as 0 to 1."""
    level = 20 * np.log10(magnitude + 1e-9)
    return np.clip((level - level.max() + RANGE_DB) / RANGE_DB, 0, 1)


def _show(axes: Axes, values: np.ndarray, size: tuple[float, float], title: str) -> None:
    extent = (0, size[0], 0, size[1])
    shades = np.floor(values * 16) / 16  # few shades make small files
    look: Any = {"cmap": COLOURS, "vmin": 0, "vmax": 1, "interpolation": "nearest"}
    axes.imshow(shades, origin="lower", aspect="auto", extent=extent, **look)
    axes.set_title(title, fontsize=8, pad=2)
    axes.grid(visible=False)
    axes.tick_params(labelsize=7)
