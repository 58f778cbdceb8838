"""A model on disk: what is needed to load it again, to the same output."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from made_models import built, kinds, mixtures, resolved
from safetensors.torch import load_file, save_file

from audioslots.models.audioslots.outputs import OUTPUTS
from audioslots.runtime.errors import InputError
from audioslots.separation.weights import load_model, save_model

# Every kind of every part is in one of these.
SAVED: dict[str, dict[str, Any]] = {
    **{
        f"{encoder}-{decoder}": {"encoder": {"kind": encoder}, "decoder": {"kind": decoder}}
        for encoder, decoder in product(kinds("encoder"), kinds("decoder"))
    },
    **{f"{s}-{output}": {"slots": {"kind": s}, "output": output} for s, output in product(kinds("slots"), OUTPUTS)},
    "conv_tasnet": {"kind": "conv_tasnet"},
}

FRESH = """
import sys
from pathlib import Path
import torch
from safetensors.torch import load_file, save_file
from audioslots.separation.weights import load_model
folder, threads = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(threads)
torch.manual_seed(12345)
mixture = load_file(folder / "mixture")["mixture"]
with torch.no_grad():
    estimates = {file.stem: load_model(file)[0](mixture).waveforms for file in folder.glob("*.safetensors")}
save_file(estimates, folder / "estimates")
"""


def test_a_saved_model_gives_the_same_output_to_the_bit_in_a_fresh_process(tmp_path: Path) -> None:
    mixture, expected = mixtures(), {}
    save_file({"mixture": mixture}, tmp_path / "mixture")
    for seed, (name, chosen) in enumerate(SAVED.items()):
        model = built(chosen, seed)
        save_model(tmp_path / f"{name}.safetensors", model, resolved(chosen))
        with torch.no_grad():
            expected[name] = model(mixture).waveforms
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", FRESH, str(tmp_path), str(torch.get_num_threads())], cwd=root, check=True)
    estimates = load_file(tmp_path / "estimates")
    assert estimates.keys() == SAVED.keys()
    assert [name for name in SAVED if not torch.equal(estimates[name], expected[name])] == []


@pytest.mark.parametrize("chosen", SAVED.values(), ids=SAVED)
def test_whatever_is_not_saved_is_the_same_in_every_model(chosen: dict[str, Any]) -> None:
    first, second = built(chosen, 1), built(chosen, 2)
    saved = first.state_dict()
    unsaved = {name: buffer for name, buffer in first.named_buffers() if name not in saved}
    for name, buffer in second.named_buffers():
        assert name in saved or torch.equal(buffer, unsaved[name]), name
    batch = mixtures()
    assert not torch.equal(first(batch).waveforms, second(batch).waveforms)
    second.load_state_dict(saved)
    assert torch.equal(first(batch).waveforms, second(batch).waveforms)


@pytest.mark.parametrize("model", ["audioslots", "conv_tasnet"])
def test_a_model_is_loaded_from_its_folder_with_its_config(tmp_path: Path, model: str) -> None:
    config = resolved({"kind": model})
    save_model(tmp_path / "model.safetensors", built({"kind": model}), config)
    loaded, read = load_model(tmp_path)
    assert read == config
    assert not loaded.training


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    with pytest.raises(InputError, match=r"model\.safetensors: no such file"):
        load_model(tmp_path)
    save_model(file, built(), resolved())
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no weights at all"):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=r"model\.safetensors: cannot be read"):
            load_model(file)


def test_weights_that_do_not_fit_their_config_or_have_none_are_named(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_model(file, built({"slots": {"count": 2}}), resolved({"slots": {"count": 3}}))
    with pytest.raises(InputError, match=r"model\.safetensors: config and weights do not fit"):
        load_model(file)
    save_file({"weight": torch.zeros(1)}, file)
    with pytest.raises(InputError, match=r"model\.safetensors: its header has no config"):
        load_model(file)
