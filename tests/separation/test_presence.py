"""How many speakers a recording has: by logits, by energy, or as given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from made_separator import COUNTING, noise, tiny
from torch import Tensor

from audioslots.models.base import Estimates, SeparationModel
from audioslots.runtime.errors import InputError
from audioslots.separation.presence import NumSpeakers, Presence
from audioslots.separation.recording import FileOptions, separate_file
from audioslots.separation.separator import Separator


class FixedPresence(SeparationModel):
    """A model with the same presence logits for every chunk."""

    def __init__(self, separator: Separator, logits: tuple[float, ...]) -> None:
        super().__init__(separator.config.model, separator.config.chunk)
        self.model, self.logits = separator.model, torch.tensor(logits)

    def forward(self, mixture: Tensor, chunks: int = 1, state: Tensor | None = None) -> Estimates:
        estimates = self.model(mixture, chunks, state)
        return estimates._replace(presence=self.logits.expand(len(mixture), -1))


def counting(*logits: float) -> Separator:
    """A separator of one to three speakers with four slots, of such presence."""
    separator = tiny(slots=4, **COUNTING)
    return replace(separator, model=FixedPresence(separator, logits)) if logits else separator


def test_logits_decide_where_there_are_any_and_energy_else() -> None:
    presence = Presence(energy=100.0, energies=torch.tensor([50.0, 0.9, 1.1, 20.0]))
    assert presence.count_sources(4) == 3 and presence.count_sources(2) == 2
    assert presence.select_outputs(2) == [0, 3]
    with_logits = replace(presence, logits=torch.tensor([-1.0, 2.0, 3.0, -0.1]))
    assert with_logits.count_sources(4) == 2
    assert with_logits.select_outputs(2) == [1, 2] and with_logits.select_outputs(3) == [1, 2, 3]
    assert Presence(energy=100.0, energies=torch.zeros(3)).count_sources(3) == 1, "at least one output is kept"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_there_are_as_many_estimates_as_estimated_speakers(count: int) -> None:
    separator = counting(*[5.0] * count, *[-5.0] * (4 - count))
    waveform = noise(0.5)[:, 0]
    estimates = separator.separate(waveform, 8000)
    assert estimates.shape == (count, len(waveform))
    assert np.array_equal(separator.separate(waveform, 8000, num_speakers="auto"), estimates)
    assert separator.separate(waveform, 8000, num_speakers=4).shape == (4, len(waveform))


def test_presence_is_complete_at_the_end_of_the_stream() -> None:
    mixture, presence = torch.from_numpy(noise(1.0)[:, 0]), Presence()
    outputs = torch.cat(list(counting(3.0, -3.0, 2.0, -1.0).stream(mixture.split(700), presence=presence)), dim=-1)
    torch.testing.assert_close(presence.energies, outputs.double().square().sum(dim=-1))
    assert presence.samples == len(mixture)
    assert presence.energy == pytest.approx(float(mixture.double().square().sum()))
    assert sorted(presence.logits.tolist()) == pytest.approx([-3.0, -1.0, 2.0, 3.0])
    assert presence.count_sources(3) == 2


@pytest.mark.parametrize("count", [1, 2, 3])
def test_evaluation_has_the_known_number_the_estimated_number_and_every_output(count: int) -> None:
    mixture = noise(0.6)[:, 0]
    sources = np.stack([mixture / count] * count)
    estimates = counting(5.0, 4.0, -5.0, -5.0).by_stitching(mixture, sources)
    shapes = {name: len(waveforms) for name, waveforms in estimates.items()}
    assert shapes == {"blind": count, "oracle": count, "counted": max(count, 2), "every": 4}
    assert (np.abs(estimates["counted"]).max(axis=1) > 0).sum() == 2, "silence stands in for the rest"


@pytest.mark.parametrize(
    ("separator", "number", "message"),
    [
        (
            tiny(),
            "auto",
            "number of speakers: auto: the model was trained with 2 speakers only; expected a number",
        ),
        (tiny(slots=3), 4, "number of speakers: 4: the model has 3 slots; expected 1 to 3"),
        (tiny(), 0, "number of speakers: 0: the model has 2 slots"),
    ],
)
def test_an_impossible_number_is_an_error(
    separator: Separator, number: NumSpeakers, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        separator.separate(noise(0.3)[:, 0], 8000, num_speakers=number)
    soundfile.write(tmp_path / "talk.wav", noise(0.3), 8000)
    with pytest.raises(InputError, match=message):
        separate_file(separator, tmp_path / "talk.wav", tmp_path / "out", FileOptions(num_speakers=number))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("separator", "number", "files", "is_printed"),
    [
        (counting(5.0, -5.0, 4.0, -5.0), None, 2, True),
        (counting(5.0, -5.0, 4.0, -5.0), 3, 3, False),
        (tiny(), None, 2, False),
    ],
)
def test_an_estimated_number_is_printed(
    tmp_path: Path, capsys: Any, separator: Separator, number: NumSpeakers, files: int, is_printed: bool
) -> None:
    soundfile.write(tmp_path / "talk.wav", noise(0.5), 8000)
    written = separate_file(separator, tmp_path / "talk.wav", tmp_path, FileOptions(num_speakers=number))
    assert [path.name for path in written] == [f"talk_s{n + 1}.wav" for n in range(files)]
    assert ("talk_s*.wav: 2 sources found" in capsys.readouterr().err) == is_printed


def test_without_a_presence_head_energy_decides() -> None:
    mixture = noise(0.5)[:, 0]
    estimates = counting().by_stitching(mixture, mixture[None])
    energies = np.square(estimates["every"]).sum(axis=1)
    expected = min(3, max(1, int((energies > 0.01 * np.square(mixture).sum()).sum())))
    assert len(estimates["counted"]) == expected


@pytest.mark.parametrize("size", [16_000, 5334, 160])
def test_extra_outputs_are_added_to_those_of_the_most_correlated_envelope(size: int) -> None:
    """Two speakers take turns, the second in two outputs, and next to nothing beside the first."""
    random = torch.Generator().manual_seed(0)
    loud = ((torch.arange(16_000) / 8000 * 3).floor() % 2).double()
    first, second, third = torch.randn(3, 16_000, generator=random, dtype=torch.float64)
    outputs = torch.stack([0.4 * second * (1 - loud), first * loud, 0.01 * third * loud, second.roll(7) * (1 - loud)])
    presence = Presence()
    for piece in outputs.split(size, dim=1):
        presence.add_outputs(piece)
    assert presence.group_outputs(2) == [[1], [3]]
    assert presence.group_outputs(2, merge=True) == [[1, 2], [3, 0]]
    assert presence.group_outputs(4, merge=True) == [[0], [1], [2], [3]]
    envelopes = outputs.unfold(1, 256, 256).square().mean(dim=-1).sqrt()  # (K, frames)
    torch.testing.assert_close(presence.envelope_sums, envelopes.sum(dim=1))
    torch.testing.assert_close(presence.envelope_products, envelopes @ envelopes.T)
    assert presence.partial_frame.shape == (4, 16_000 % 256)


def test_merged_estimates_add_up_to_all_outputs(tmp_path: Path) -> None:
    merging, waveform = tiny(slots=4, separation={"extra_slots": "merge"}), noise(0.7)[:, 0]
    every = torch.cat(list(tiny(slots=4).stream([torch.from_numpy(waveform)])), dim=-1).sum(dim=0).numpy()
    estimates = merging.by_stitching(waveform, np.stack([waveform, np.roll(waveform, 5)]))
    for merged in estimates.values():
        assert merged.shape == (2, len(waveform)) and np.allclose(merged.sum(axis=0), every, atol=1e-5)
    soundfile.write(tmp_path / "talk.wav", waveform, 8000, subtype="FLOAT")
    written = separate_file(merging, tmp_path / "talk.wav", tmp_path / "out", FileOptions(is_float=True))
    files = np.stack([soundfile.read(path)[0] for path in written])
    assert np.allclose(files, estimates["blind"], atol=1e-5)
    assert not np.allclose(tiny(slots=4).separate(waveform, 8000).sum(axis=0), every, atol=1e-3)


def test_recordings_shorter_than_a_frame_have_nothing_to_merge_by() -> None:
    presence = Presence(energy=1.0)
    presence.add_outputs(torch.ones(3, 100))
    assert presence.group_outputs(2, merge=True) == [[0], [1]]
