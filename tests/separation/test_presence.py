"""How many sources a recording has: by logits, by energy, or as it is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from made_separator import recording, tiny

from audioslots.runtime.errors import InputError
from audioslots.separation.presence import Presence
from audioslots.separation.recording import separate_file
from audioslots.separation.separate import Separator
from audioslots.separation.stitching import Stitcher
from audioslots.separation.weights import build


def several(existence: float = 1.0) -> Separator:
    """An untrained model of four slots, of one to three speakers."""
    made = tiny(slots=4).config
    training = made.training.model_copy(update={"loss": "snr"})
    model = made.model.model_copy(update={"presence": existence > 0})
    config = made.model_copy(update={"counts": [1, 2, 3], "sources": 3, "training": training, "model": model})
    torch.manual_seed(0)
    return Separator(build(config).eval(), config)


def certain(separator: Separator, *logits: float) -> Separator:
    """The same, but that its slots hold a source or not for certain."""
    head = separator.model.head
    assert isinstance(head, torch.nn.Linear)

    def told(slots: torch.Tensor) -> torch.Tensor:
        return torch.tensor(logits).expand(slots.shape[0], -1)[..., None]

    head.forward = told  # type: ignore[method-assign, assignment]
    return separator


def test_logits_decide_where_there_are_any_and_energy_else() -> None:
    heard = Presence(mixture=100.0, energies=torch.tensor([50.0, 0.9, 1.1, 20.0]))
    assert heard.found(4) == 3 and heard.found(2) == 2
    assert heard.outputs(2).tolist() == [0, 3]
    told = replace(heard, logits=torch.tensor([-1.0, 2.0, 3.0, -0.1]))
    assert told.found(4) == 2 and told.outputs(2).tolist() == [1, 2] and told.outputs(3).tolist() == [1, 2, 3]
    nothing = Presence(mixture=100.0, energies=torch.zeros(3))
    assert nothing.found(3) == 1, "of a recording at least one output is kept"


def test_logits_are_means_over_chunks_in_the_order_of_the_outputs() -> None:
    random = torch.Generator().manual_seed(0)
    sources = torch.randn(2, 400, generator=random)
    stitcher = Stitcher(hop=50)
    orders = [[0, 1], [1, 0], [0, 1], [1, 0]]
    for number, order in enumerate(orders):
        chunk = sources[:, 50 * number : 50 * number + 100][order]
        logits = torch.tensor([[4.0 + number, -4.0]])[:, order]
        stitcher.add(chunk[None], existence=logits)
    assert stitcher.existence.tolist() == [5.5, -4.0]
    stitcher.add(torch.zeros(1, 2, 100), existence=torch.tensor([[-99.0, 99.0]]))
    assert stitcher.existence.tolist() == [5.5, -4.0], "silence tells nothing"
    assert len(Stitcher(hop=50).existence) == 0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_as_many_estimates_as_are_found(count: int) -> None:
    separator = certain(several(), *[5.0] * count, *[-5.0] * (4 - count))
    waveform = recording(0.5, 8000)[:, 0]
    found = separator.separate(waveform, 8000)
    assert found.shape == (count, len(waveform))
    assert np.array_equal(separator.separate(waveform, 8000, sources="auto"), found)
    assert separator.separate(waveform, 8000, sources=4).shape == (4, len(waveform))
    assert separator.estimates(torch.from_numpy(waveform).float())[0].shape == (count, len(waveform))


def test_the_sum_of_the_stream_is_what_is_known_at_its_end() -> None:
    separator = certain(several(), 3.0, -3.0, 2.0, -1.0)
    mixture = torch.from_numpy(recording(1.0, 8000)[:, 0]).float()
    presence = Presence()
    pieces = torch.cat(list(separator.stream(mixture.split(700), presence=presence)), dim=-1)
    torch.testing.assert_close(presence.energies, pieces.double().square().sum(dim=-1))
    assert presence.mixture == pytest.approx(float(mixture.double().square().sum()))
    assert sorted(presence.logits.tolist()) == pytest.approx([-3.0, -1.0, 2.0, 3.0])
    assert presence.found(3) == 2


def test_evaluation_has_the_known_number_the_number_found_and_every_output() -> None:
    mixture = recording(0.6, 8000)[:, 0].astype(np.float32)
    for count in (1, 2, 3):
        sources = np.stack([mixture / count] * count)
        separator = certain(several(), 5.0, 4.0, -5.0, -5.0)
        found = separator.by_stitching(mixture, sources)
        assert set(found) == {"blind", "oracle", "counted", "every"}
        assert len(found["blind"]) == len(found["oracle"]) == count and len(found["every"]) == 4
        assert len(found["counted"]) == max(count, 2)
        assert (np.abs(found["counted"]).max(axis=1) > 0).sum() == 2, "silence stands in for the rest"
    assert set(tiny().by_stitching(mixture, np.stack([mixture, mixture]))) == {"blind", "oracle"}


@pytest.mark.parametrize(
    ("separator", "sources", "words"),
    [
        (tiny(), "auto", "sources: auto of a model that was trained with 2 alone; expected a number, or a model"),
        (tiny(slots=3), 4, "sources: 4 of a model with 3 slots; expected 1 to 3"),
        (tiny(), 0, "sources: 0 of a model with 2 slots"),
    ],
)
def test_what_a_model_cannot_give_is_refused(separator: Separator, sources: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        separator.separate(recording(0.3, 8000)[:, 0], 8000, sources=sources)
    soundfile.write(tmp_path / "talk.wav", recording(0.3, 8000), 8000)
    with pytest.raises(InputError, match=words):
        separate_file(separator, tmp_path / "talk.wav", tmp_path / "out", sources=sources)
    assert not list((tmp_path / "out").glob("*")), "nothing is written then"


def test_a_file_says_how_many_were_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "talk.wav", recording(0.5, 8000), 8000)
    separator = certain(several(), 5.0, -5.0, 4.0, -5.0)
    written = separate_file(separator, tmp_path / "talk.wav", tmp_path / "out")
    assert [path.name for path in written] == ["talk_s1.wav", "talk_s2.wav"]
    assert "talk_s*.wav: 2 sources found" in capsys.readouterr().err
    assert len(separate_file(separator, tmp_path / "talk.wav", tmp_path / "three", sources=3)) == 3
    assert "found" not in capsys.readouterr().err
    separate_file(tiny(), tmp_path / "talk.wav", tmp_path / "plain")
    assert "found" not in capsys.readouterr().err


def test_without_a_head_energy_tells_the_number(tmp_path: Path) -> None:
    mixture = recording(0.5, 8000)[:, 0].astype(np.float32)
    separator = several(existence=0.0)
    found = separator.by_stitching(mixture, mixture[None])
    energies = np.square(found["every"]).sum(axis=1)
    expected = min(3, max(1, int((energies > 0.01 * np.square(mixture).sum()).sum())))
    assert len(found["counted"]) == expected


def spoken(pieces: int) -> tuple[Presence, torch.Tensor]:
    """Four outputs: two speakers who take turns, the second in two parts, and next to nothing beside the first."""
    random = torch.Generator().manual_seed(0)
    time = torch.arange(16_000) / 8000
    loud = ((time * 3).floor() % 2).double()
    first, second, third = torch.randn(3, 16_000, generator=random, dtype=torch.float64)
    every = torch.stack([0.4 * second * (1 - loud), first * loud, 0.01 * third * loud, second.roll(7) * (1 - loud)])
    presence = Presence(mixture=float(every.sum(dim=0).square().sum()))
    for piece in every.tensor_split(pieces, dim=-1):
        presence.say(piece)
    return presence, every


@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_spare_outputs_are_added_to_what_grows_loud_and_quiet_as_they_do(pieces: int) -> None:
    presence, every = spoken(pieces)
    assert presence.kept(2) == [[1], [3]]
    assert presence.kept(2, merge=True) == [[1, 2], [3, 0]]
    assert presence.kept(4, merge=True) == [[0], [1], [2], [3]]
    levels = every.unfold(1, 256, 256).square().mean(dim=-1).sqrt()  # (K, frames) of the whole
    expected = torch.corrcoef(levels)
    means = presence.levels / presence.frames
    covariance = presence.products / presence.frames - means.outer(means)
    found = covariance / covariance.diagonal().sqrt().outer(covariance.diagonal().sqrt())
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert presence.waiting.shape == (4, 16_000 % 256)


def test_merged_estimates_add_up_to_all_outputs(tmp_path: Path) -> None:
    made = tiny(slots=4)
    separation = made.config.separation.model_copy(update={"extra_slots": "merge"})
    merging = Separator(made.model, made.config.model_copy(update={"separation": separation}))
    waveform = recording(0.7, 8000)[:, 0].astype(np.float32)
    sources = np.stack([waveform, np.roll(waveform, 5)])
    blind, oracle = merging.by_stitching(waveform, sources).values()
    every, _, _ = made._whole(torch.from_numpy(waveform), None)
    assert blind.shape == oracle.shape == (2, len(waveform))
    assert np.allclose(blind.sum(axis=0), every.sum(dim=0).numpy(), atol=1e-5)
    assert np.allclose(oracle.sum(axis=0), every.sum(dim=0).numpy(), atol=1e-5)
    soundfile.write(tmp_path / "talk.wav", waveform, 8000, subtype="FLOAT")
    written = separate_file(merging, tmp_path / "talk.wav", tmp_path / "out", floating=True)
    assert np.allclose(np.stack([soundfile.read(path)[0] for path in written]), blind, atol=1e-5)
    dropped = made.by_stitching(waveform, sources)["blind"]
    assert not np.allclose(dropped.sum(axis=0), blind.sum(axis=0), atol=1e-3)


def test_recordings_shorter_than_a_frame_have_nothing_to_merge_by() -> None:
    presence = Presence(mixture=1.0)
    presence.say(torch.ones(3, 100))
    assert presence.kept(2, merge=True) == [[0], [1]]
