"""Mixing on the device: packed speech lies in its memory, and only what is random is drawn on the host."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from audioslots.data.librimix.layout import MAX_AMPLITUDE
from audioslots.data.training.mixing import Crop, Mixer
from audioslots.data.training.static import StaticMixer
from audioslots.runtime.errors import InputError

PIECE = 32 << 20  # samples that are copied to the device at a time: of 41 GB of speech, the host holds 64 MiB


class DeviceMixer:
    """The mixtures of a ``Mixer``, equal to rounding, made where they are trained on.

    Args:
        mixer: whose mixtures they are; its speech, and noise, is copied to the device in pieces, two bytes a sample.
        device: of the training.

    Raises:
        InputError: the mixtures are a fixed list.
    """

    def __init__(self, mixer: Mixer, device: torch.device) -> None:
        if isinstance(mixer, StaticMixer):
            raise InputError("--mix-on-device: training.mixing is static; expected dynamic")
        self.mixer, self.device = mixer, device
        packed = [one.samples for one in (mixer.speech, mixer.noise) if one is not None]
        self.samples = torch.empty(sum(map(len, packed)), dtype=torch.int16, device=device)
        for samples, into in zip(packed, self.samples.split([len(one) for one in packed]), strict=True):
            for at in range(0, len(samples), PIECE):
                into[at : at + PIECE] = torch.from_numpy(np.array(samples[at : at + PIECE]))

    def drawn(self, step: int, items: range) -> list[Crop]:
        """What is random of a batch, on the host: part after part, item after item."""
        return [crop for item in items for crop in self.mixer.drawn(step, item)]

    def mixed(self, crops: list[Crop]) -> Tensor:
        """The parts (items, parts, chunk) float32 of what was ``drawn``."""
        places, heard, enough, gain, since, until = (
            torch.tensor(np.array(values)).to(self.device, non_blocking=True) for values in zip(*crops, strict=True)
        )
        longest = max(crop.heard for crop in crops)
        offsets = torch.arange(longest, device=self.device)
        at = (places[:, :, None] + offsets).clamp_max(len(self.samples) - 1)  # (R, places, longest)
        candidates = self.samples[at].double() * (offsets < heard[:, None, None])
        levels = (candidates.square().sum(dim=-1) / heard[:, None]).sqrt()
        loud = levels >= enough[:, None]
        chosen = torch.where(loud.any(dim=1), loud.int().argmax(dim=1), levels.argmax(dim=1))
        loudest = candidates[torch.arange(len(crops), device=self.device), chosen]  # (R, longest)
        if self.mixer.speed:  # linear interpolation
            steps = torch.arange(self.mixer.chunk, device=self.device, dtype=torch.float64) / (self.mixer.chunk - 1)
            position = steps * (heard[:, None] - 1)
            low = position.long().clamp_max(heard[:, None] - 2)
            before, after = loudest.gather(1, low), loudest.gather(1, low + 1)
            loudest = before + (position - low) * (after - before)
        chunk = torch.arange(self.mixer.chunk, device=self.device)
        speaks = (chunk >= since[:, None]) & (chunk < until[:, None])
        sources = (loudest * gain[:, None] * speaks).float().unflatten(0, (-1, self.mixer.parts))
        peak = sources.sum(dim=1).abs().amax(dim=-1)[:, None, None]
        return torch.where(peak > MAX_AMPLITUDE, sources * (MAX_AMPLITUDE / peak), sources)
