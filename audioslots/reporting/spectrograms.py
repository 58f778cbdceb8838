"""Spectrograms of what can be heard: a small picture a signal for the player, and panels for papers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image
from scipy.signal import stft

from audioslots.reporting.style import WIDTH, styled
from audioslots.reporting.words import number, short
from audioslots.runtime.files import written_aside

COLOURS = "cividis"  # even in lightness, and the same for colour-blind eyes
RANGE_DB = 70
RECONSTRUCTIONS = {
    "direct": "Decoded\nmagnitudes",
    "ratio": "Ratio masks\nmade of them",
    "misi": "Phases by MISI\nfitted to them",
}
"""Ways from decoded magnitudes to waveforms, ``separation.reconstruction``, in the order of their columns."""

_SHADES = 16  # few shades make small files
EXCERPT_S = 2.0  # of a mixture, where what is seen is how fine a spectrogram is
_HOP = 128  # samples
_Extent = tuple[float, float, float, float]  # first and last s, lowest and highest kHz
_COLUMNS = 360  # of a spectrogram in the panel, at most


def save_picture(audio: Path, out: Path, height: int = 128) -> None:
    """Write a spectrogram as a small PNG: 0 Hz at the bottom, 70 dB from dark to bright.

    Args:
        audio: a mono file.
        out: the PNG; its width follows the duration (one column a 128 samples), its height is ``height``.
        height: frequency bins, in pixels.
    """
    wave, _ = soundfile.read(audio, dtype="float32")
    index = np.clip(_level(_magnitude(wave, height))[::-1] * _SHADES, 0, _SHADES - 1).astype(np.uint8)
    picture = Image.fromarray(index, mode="P")
    picture.putpalette((colormaps[COLOURS](np.linspace(0, 1, _SHADES))[:, :3] * 255).astype(np.uint8).tobytes())
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
    numbers = sources(given)
    figure, grid = _grid(1 + 2 * len(systems), 1 + len(numbers), 1.15)
    mixture, extent = _read(given / "mixture.wav")
    _show(grid[0, 0], _level(mixture), extent, "Mixture")
    for k in numbers:
        _show(grid[0, k], _level(_read(given / f"s{k}.wav")[0]), extent, f"Reference {k}")
    for place, (title, folder) in enumerate(systems.items()):
        estimates = [_read(folder / f"estimate{k}.wav")[0] for k in numbers]
        total = np.sum(estimates, axis=0) + 1e-9
        for row, words in ((1 + 2 * place, "estimate"), (2 + 2 * place, "mask")):
            label = f"{short(title, 40)}:\n{words}s" if words == "estimate" else "their masks,\n|estimate| / sum"
            grid[row, 0].text(0.0, 0.5, label, transform=grid[row, 0].transAxes, va="center", fontsize=8, wrap=True)
            grid[row, 0].set_axis_off()
        for k, estimate in zip(numbers, estimates, strict=True):
            _show(grid[1 + 2 * place, k], _level(estimate), extent, f"Estimate {k}")
            _show(grid[2 + 2 * place, k], estimate / total, extent, f"Mask {k}")
    return figure


@styled
def reconstruction(folders: Mapping[str, Path], gains: Mapping[tuple[str, int], float]) -> Figure:
    """One mixture by one model: a row a source, a column a way from decoded magnitudes to a waveform, on one scale.

    Shown are the ``EXCERPT_S`` in the middle of the mixture, down to 70 dB below its loudest point. So what an estimate
    lacks stays dark: no panel has a scale of its own.

    Args:
        folders: reconstruction, a key of ``RECONSTRUCTIONS`` -> folder of the example, as of ``panel``.
        gains: (reconstruction, number of the source) -> SI-SDRi in dB, where it is known.
    """
    given = next(iter(folders.values()))
    numbers = sources(given)
    figure, grid = _grid(len(numbers), 2 + len(folders), 1.7)
    loudest = _read(given / "mixture.wav", fine=True)[0].max()
    columns = [("Mixture", given, "mixture", ""), ("Reference", given, "s{}", "")]
    columns += [(RECONSTRUCTIONS[kind], folder, "estimate{}", kind) for kind, folder in folders.items()]
    for column, (heading, folder, name, kind) in enumerate(columns):
        above = {"xytext": (0, 14), "textcoords": "offset points", "fontsize": 8, "fontweight": "bold"}
        grid[0, column].annotate(heading, (0.5, 1), xycoords="axes fraction", ha="center", va="bottom", **above)
        for k in numbers if column else numbers[:1]:
            gain = gains.get((kind, k))
            title = f"source {k}" if pd.isna(gain) else f"{number(gain, 1, sign=True)} dB"
            magnitude, extent = _read(folder / f"{name.format(k)}.wav", fine=True)
            _show(grid[k - 1, column], _level(magnitude, loudest), extent, title if column else "")
    for axes in grid[1:, 0]:
        axes.set_axis_off()
    shades = ScalarMappable(Normalize(-RANGE_DB, 0), colormaps[COLOURS].resampled(_SHADES))
    bar = figure.colorbar(shades, ax=grid, aspect=30, pad=0.01)
    bar.set_label("dB relative to the mixture's loudest", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def sources(example: Path) -> range:
    """Numbers of the sources of an example's folder, from 1."""
    return range(1, 1 + len(list(example.glob("s[0-9]*.wav"))))


def _grid(rows: int, columns: int, height: float) -> tuple[Figure, np.ndarray]:
    """A figure and its (rows, columns) panels, each so many inches high: time in s to the right, kHz upwards."""
    figure = Figure(figsize=(WIDTH, 0.5 + height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid[-1, 1:]:
        axes.set_xlabel("s")
    grid[0, 0].set_ylabel("kHz")
    return figure, grid


def _read(path: Path, fine: bool = False) -> tuple[np.ndarray, _Extent]:
    """Magnitude spectrogram (frequency, time), thinned to few columns, and what it extends over.

    Args:
        path: a mono file.
        fine: of the ``EXCERPT_S`` in its middle alone, by a window of 32 ms, which tells a voice's harmonics apart.
    """
    wave, rate = soundfile.read(path, dtype="float32")
    length = min(len(wave), round(EXCERPT_S * rate)) if fine else len(wave)
    start = (len(wave) - length) // 2
    magnitude = _magnitude(wave[start : start + length], round(0.016 * rate) if fine else 96)
    extent = (start / rate, (start + length) / rate, 0, rate / 2000)
    return magnitude[:, :: max(1, magnitude.shape[1] // _COLUMNS)], extent


def _magnitude(wave: np.ndarray, height: int) -> np.ndarray:
    """Magnitudes (frequency bins, time), without the bin of 0 Hz."""
    _, _, bins = stft(wave, nperseg=2 * height, noverlap=2 * height - _HOP, padded=len(wave) < 2 * height)
    return np.abs(bins[1 : height + 1])


def _level(magnitude: np.ndarray, loudest: float | None = None) -> np.ndarray:
    """Levels over a range of 70 dB below the loudest magnitude, its own or the one given, as 0 to 1."""
    top = magnitude.max() if loudest is None else loudest
    return np.clip(20 * np.log10((magnitude + 1e-9) / (top + 1e-9)) / RANGE_DB + 1, 0, 1)


def _show(axes: Axes, values: np.ndarray, extent: _Extent, title: str) -> None:
    shades = np.floor(values * _SHADES) / _SHADES
    look: Any = {"cmap": COLOURS, "vmin": 0, "vmax": 1, "interpolation": "nearest"}
    axes.imshow(shades, origin="lower", aspect="auto", extent=extent, **look)
    axes.set_title(title, fontsize=8, pad=2)
    axes.grid(visible=False)
    axes.tick_params(labelsize=7)
