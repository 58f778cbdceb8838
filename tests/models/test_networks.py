"""Conv-TasNet and imported networks: any module at the mixture's level, and errors in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchaudio
from made_models import CHUNK, built, mixtures, resolved

from audioslots.config.study import locate_imports
from audioslots.config.variant import Resolved
from audioslots.models import build, conv_tasnet, imported
from audioslots.runtime.errors import InputError
from audioslots.separation.weights import load_model, save_model

NETWORKS = '''
import torch
from torch import nn


class Gains(nn.Module):
    """A gain per source."""

    def __init__(self, sources=2, dropout=0.0):
        super().__init__()
        self.gains = nn.Parameter(torch.rand(sources))
        self.dropout = nn.Dropout(dropout)

    def forward(self, mixture):  # (B, T) or (B, F, N) -> (B, S, ...)
        return self.dropout(mixture[:, None] * self.gains.view(-1, *[1] * (mixture.ndim - 1)))


class Short(Gains):
    def forward(self, mixture):
        return super().forward(mixture)[..., :-1]


class Detached(Gains):
    def forward(self, mixture):
        return super().forward(mixture).detach()


class Failing(Gains):
    def forward(self, mixture):
        raise RuntimeError("no\\nway")


class Uncounted(Gains):
    def __init__(self):
        super().__init__()
        self.bilinear = nn.Bilinear(1, 1, 2)

    def forward(self, mixture):
        return self.bilinear(mixture[..., None], mixture[..., None]).movedim(-1, 1)


def not_a_module():
    return 1
'''


@pytest.fixture
def networks(tmp_path: Path) -> Path:
    path = tmp_path / "networks.py"
    path.write_text(NETWORKS, encoding="utf-8")
    return path


def importing(path: str, **values: Any) -> Resolved:
    return resolved({"kind": "imported", "path": path, **values})


@pytest.mark.parametrize("samples", [CHUNK, 777])
def test_conv_tasnet_separates_any_length_and_trains(samples: int) -> None:
    model, mixture = built({"kind": "conv_tasnet"}), mixtures(4, samples=samples)
    estimates = model(mixture)
    assert estimates.waveforms.shape == (4, 3, samples) and model.any_length and not model.has_spectrogram
    assert estimates.compressed is None and estimates.slots is None
    torch.testing.assert_close(model(mixture[3:]).waveforms, estimates.waveforms[3:], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(model(100 * mixture).waveforms, 100 * estimates.waveforms, atol=1e-3, rtol=1e-3)
    estimates.waveforms.square().sum().backward()
    unused = [key for key, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert all("conv_layers.5.res_out" in key for key in unused)  # only the skip connection of the last block is used
    assert model(torch.zeros(1, CHUNK)).waveforms.abs().max() < 1e-6


def test_conv_tasnets_defaults_are_the_published_size() -> None:
    """Luo and Mesgarani 2019, table II: 5.1 million parameters; torchaudio's own defaults are that size too."""
    count = sum(weight.numel() for weight in build(conv_tasnet.Config(), 4000, 8000).parameters())
    assert count == sum(weight.numel() for weight in torchaudio.models.conv_tasnet_base().parameters())
    assert count == pytest.approx(5.1e6, rel=0.03)


@pytest.mark.parametrize("domain", ["waveform", "stft"])
def test_a_network_of_a_file_is_imported_and_comes_back_from_its_weights(domain: str, networks: Path) -> None:
    config = importing(f"{networks}:Gains", arguments={"sources": 3}, outputs=3, domain=domain)
    assert config.content["model"]["source_digest"] and config.model.any_length
    torch.manual_seed(0)
    model, mixture = build(config.model, CHUNK, 8000).eval(), mixtures(samples=777)
    estimates = model(mixture)
    expected = mixture[:, None] * model.network.gains[:, None]
    torch.testing.assert_close(estimates.waveforms, expected, atol=1e-5, rtol=1e-4)
    assert model.has_spectrogram == (estimates.compressed is not None) == (domain == "stft")
    save_model(networks.parent / "model.safetensors", model, config)
    loaded, read = load_model(networks.parent)
    assert read == config and torch.equal(loaded(mixture).waveforms, estimates.waveforms)
    provenance = config.model.provenance()
    assert provenance["class"].endswith("networks.py:Gains") and len(provenance["source_sha256"]) == 64


def test_a_class_of_an_installed_package_is_imported_by_its_path() -> None:
    model = built({"kind": "imported", "path": "audioslots.models.conv_tasnet:ConvTasNet", "arguments": {
        "num_sources": 2, "enc_num_feats": 16, "msk_num_feats": 8, "msk_num_hidden_feats": 8, "msk_num_layers": 2,
        "msk_num_stacks": 1}})  # fmt: skip
    assert model(mixtures()).waveforms.shape == (2, 2, CHUNK)
    assert imported.Config(kind="imported", path="torchaudio.models:ConvTasNet").provenance()["version"]


def test_checking_a_network_changes_neither_generators_nor_its_mode(networks: Path) -> None:
    config = importing(f"{networks}:Gains", arguments={"dropout": 0.5})
    torch.manual_seed(0)
    model = build(config.model, CHUNK, 8000)
    after = torch.rand(3)
    torch.manual_seed(0)
    torch.rand(2)  # its gains
    assert torch.equal(after, torch.rand(3)) and model.training and model.network.gains.grad is None


def test_a_path_beside_a_yaml_is_located_and_a_changed_file_is_refused(networks: Path, monkeypatch: Any) -> None:
    document = {"variants": {"mine": {"model": {"kind": "imported", "path": "networks.py:Gains"}}}}
    located = locate_imports(document, networks.parent)
    path = located["variants"]["mine"]["model"]["path"]
    assert Path(path.partition(":")[0]).resolve() == networks and locate_imports(path, networks) == path
    config = importing(path)
    networks.write_text(NETWORKS + "# changed\n", encoding="utf-8")
    assert importing(path).identity != config.identity
    with pytest.raises(InputError, match="the file has changed since"):
        build(config.model, CHUNK, 8000)


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("absent.py:Gains", {}, "absent.py: no such file; expected one beside the YAML"),
        ("no_such_package.models:Gains", {}, "cannot be imported: ModuleNotFoundError"),
        (
            "{file}:Gain",
            {},
            "has no class Gain; expected one of .*'Gains', 'Short'",
        ),
        ("{file}", {}, "model.path"),
        ("{file}:Gains", {"arguments": {"gains": 1}}, "arguments .*TypeError.*; expected those of the class"),
        ("{file}:not_a_module", {}, "makes a int; expected a torch.nn.Module"),
        ("{file}:Gains", {"outputs": 3}, r"returns \(2, 2, 512\) for \(2, 512\); expected \(2, 3, 512\)"),
        ("{file}:Short", {}, r"returns \(2, 2, 511\) for \(2, 512\)"),
        ("{file}:Failing", {}, r"fails on mixtures of shape \(2, 512\): RuntimeError: no; expected \(2, 2, 512\)"),
        ("{file}:Detached", {}, "no gradient"),
        ("{file}:Uncounted", {}, "model.path .* has no formula for its cost; add one"),
        ("{file}:Gains", {"arguments": {"sources": 1}, "outputs": 1}, "1 slots .* for 2 sources"),
        ("{file}:Gains", {"stft": {}}, "stft with domain waveform"),
    ],
)
def test_what_a_network_lacks_is_said_in_one_line(networks: Path, path: str, values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build(importing(path.format(file=networks), **values).model, CHUNK, 8000)
    assert "\n" not in str(caught.value)
