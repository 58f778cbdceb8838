"""Spectrograms of audible signals: a small picture per signal for the player, and panels for papers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from scipy.signal import stft

from audioslots.reporting.formatting import shorten
from audioslots.reporting.style import WIDTH
from audioslots.runtime.files import written_aside

COLOURS = "cividis"  # even in lightness, and the same for colour-blind eyes
RANGE_DB = 70

_SHADES = 16  # few shades make small files
_HOP = 128  # samples
_COLUMNS = 360  # of a spectrogram in a panel, at most
_Extent = tuple[float, float, float, float]  # first and last s, lowest and highest kHz


def save_picture(audio: Path, out: Path, height: int = 128) -> None:
    """Write a spectrogram as a small PNG: 0 Hz at the bottom, 70 dB from dark to bright.

    Args:
        audio: a mono file.
        out: the PNG; a column per 128 samples.
        height: frequency bins, in pixels.
    """
    wave, _ = soundfile.read(audio, dtype="float32")
    index = np.clip(_scale_level(_compute_magnitude(wave, height))[::-1] * _SHADES, 0, _SHADES - 1).astype(np.uint8)
    picture = Image.fromarray(index, mode="P")
    picture.putpalette((colormaps[COLOURS](np.linspace(0, 1, _SHADES))[:, :3] * 255).astype(np.uint8).tobytes())
    with written_aside(out) as aside:
        picture.save(aside, optimize=True)


def draw_masks(systems: Mapping[str, Path]) -> Figure:
    """One mixture and its references; of each system the estimates and, below, their masks.

    The mask of an estimate is |estimate| / (sum of all |estimates|) in each time-frequency bin: the effective mask of
    its slot, whatever the decoder's kind of output.

    Args:
        systems: title -> folder of an example, with mixture.wav, s<k>.wav and estimate<k>.wav.
    """
    example = next(iter(systems.values()))
    numbers = list_sources(example)
    rows = 1 + 2 * len(systems)
    figure = Figure(figsize=(WIDTH, 0.5 + 1.15 * rows), layout="constrained")
    grid = figure.subplots(rows, 1 + len(numbers), sharex=True, sharey=True, squeeze=False)
    mixture, extent = _read(example / "mixture.wav")
    _show(grid[0, 0], _scale_level(mixture), extent, "Mixture")
    for k in numbers:
        _show(grid[0, k], _scale_level(_read(example / f"s{k}.wav")[0]), extent, f"Reference {k}")
    for place, (title, folder) in enumerate(systems.items()):
        estimates = [_read(folder / f"estimate{k}.wav")[0] for k in numbers]
        total = np.sum(estimates, axis=0) + 1e-9
        above, below = grid[1 + 2 * place], grid[2 + 2 * place]
        for axes, label in ((above[0], f"{shorten(title, 40)}:\nestimates"), (below[0], "masks,\n|estimate| / sum")):
            axes.text(0.0, 0.5, label, transform=axes.transAxes, va="center", fontsize=8, wrap=True)
            axes.set_axis_off()
        for k, estimate in zip(numbers, estimates, strict=True):
            _show(above[k], _scale_level(estimate), extent, f"Estimate {k}")
            _show(below[k], estimate / total, extent, f"Mask {k}")
    for axes in grid[-1, 1:]:
        axes.set_xlabel("s")
    grid[0, 0].set_ylabel("kHz")
    return figure


def list_sources(example: Path) -> range:
    """Numbers of the sources in an example's folder, from 1."""
    return range(1, 1 + len(list(example.glob("s[0-9]*.wav"))))


def _read(path: Path) -> tuple[np.ndarray, _Extent]:
    """Magnitude spectrogram (frequency, time) of a mono file, thinned to few columns, and its extent."""
    wave, rate = soundfile.read(path, dtype="float32")
    magnitude = _compute_magnitude(wave, 96)
    return magnitude[:, :: max(1, magnitude.shape[1] // _COLUMNS)], (0, len(wave) / rate, 0, rate / 2000)


def _compute_magnitude(wave: np.ndarray, height: int) -> np.ndarray:
    """Magnitudes (frequency bins, time), without the bin of 0 Hz."""
    _, _, bins = stft(wave, nperseg=2 * height, noverlap=2 * height - _HOP, padded=len(wave) < 2 * height)
    return np.abs(bins[1 : height + 1])


def _scale_level(magnitude: np.ndarray) -> np.ndarray:
    """Levels over a range of 70 dB below the largest magnitude, as 0 to 1."""
    return np.clip(20 * np.log10((magnitude + 1e-9) / (magnitude.max() + 1e-9)) / RANGE_DB + 1, 0, 1)


def _show(axes: Axes, values: np.ndarray, extent: _Extent, title: str) -> None:
    shades = np.floor(values * _SHADES) / _SHADES
    axes.imshow(shades, COLOURS, aspect="auto", interpolation="nearest", vmin=0, vmax=1, origin="lower", extent=extent)
    axes.set_title(title, fontsize=8, pad=2)
    axes.grid(visible=False)
    axes.tick_params(labelsize=7)
