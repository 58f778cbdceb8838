"""Commands that use a model: separate, separate-set, evaluate, export."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option, Typer

from audioslots.cli.options import Device, Jobs, torch_device
from audioslots.config.untrained import BASELINES, COST, is_untrained
from audioslots.runtime.errors import InputError

if TYPE_CHECKING:
    from audioslots.scoring.estimates import SavedSystem, System

use = Typer()

Mixtures = Annotated[
    Path, Option(help="Rendered mixtures: the folder of mix_clean, s1, s2; or one kind: test/mix_both.")
]
SeparationConfig = Annotated[Path | None, Option(help="Config that differs from the model's only in separation.")]


@use.command("separate")
def separate_audio(
    audio: Annotated[list[Path], Argument(help="WAV, FLAC, OGG or MP3 files of any rate, channels and length.")],
    out: Annotated[Path, Option(help="Folder for the estimates.")],
    model: Annotated[
        Path | None, Option(help="Run folder or safetensors file; by default the package's weights.")
    ] = None,
    separation_config: SeparationConfig = None,
    num_speakers: Annotated[str, Option(help="Number of speakers; auto: estimated, where the model can.")] = "",
    each_channel: Annotated[bool, Option("--each-channel", help="Separate each channel, not their mean.")] = False,
    mixture_consistency: Annotated[
        bool, Option("--mixture-consistency", help="Make estimates sum to the recording.")
    ] = False,
    floating: Annotated[bool, Option("--float", help="Write 32-bit floats, which cannot clip.")] = False,
    device: Device = "auto",
) -> None:
    """Separate recordings of any length, in bounded memory."""
    from audioslots.separation.presence import NumSpeakers
    from audioslots.separation.recording import FileOptions, separate_file
    from audioslots.separation.separator import Separator
    from audioslots.separation.weights import SHIPPED

    if len({path.stem for path in audio}) < len(audio):
        names = ", ".join(map(str, audio))
        raise InputError(f"{names}: inputs of one name would overwrite each other; expected different names")
    for path in audio:
        estimate = re.fullmatch(r"(.+?)(_c\d+)?_s\d+\.wav", path.name)
        if estimate and path.resolve().parent == out.resolve() and estimate[1] in {other.stem for other in audio}:
            raise InputError(f"{path}: would be replaced by an estimate of {estimate[1]}; expected another --out")
    if not re.fullmatch(r"[1-9]?|auto", num_speakers):
        raise InputError(f"--num-speakers: {num_speakers}; expected a number from 1 to 9, or auto")
    speakers: NumSpeakers = int(num_speakers) if num_speakers.isdecimal() else "auto" if num_speakers else None
    separator = Separator.load(model or SHIPPED, torch_device(device), separation_config)
    separator.is_counted(speakers)  # else an impossible number is an error only after the first file is read
    options = FileOptions(each_channel, mixture_consistency, floating, speakers)
    for path in audio:
        for written in separate_file(separator, path, out, options):
            print(written)


@use.command("separate-set")
def separate_test_set(
    model: Annotated[Path, Option(help="Run folder or safetensors file.")],
    mixtures: Mixtures,
    out: Annotated[Path, Option(help="Folder for the estimates.")],
    separation_config: SeparationConfig = None,
    device: Device = "auto",
) -> None:
    """Separate every mixture of a test set, to score later. Repeat the command to resume."""
    from audioslots.scoring.estimates import separate_set
    from audioslots.separation.separator import Separator

    separate_set(Separator.load(model, torch_device(device), separation_config), mixtures, out)


@use.command("evaluate")
def evaluate_system(
    mixtures: Mixtures,
    out: Annotated[Path, Option(help="scores.parquet to write.")],
    model: Annotated[
        str | None, Option(help="Run folder, safetensors file, or baseline: mixture, oracle-ibm, ...")
    ] = None,
    estimates: Annotated[Path | None, Option(help="Estimates to score: of separate-set, or of --name.")] = None,
    name: Annotated[str, Option(help="Name of the system whose estimates are scored.")] = "",
    cost: Annotated[list[str] | None, Option(help=f"Cost of --name, key=number; keys: {', '.join(COST)}.")] = None,
    separation_config: SeparationConfig = None,
    benchmark: Annotated[str, Option(help="Name of the benchmark, for a column of the scores.")] = "",
    mixture_scores: Annotated[Path | None, Option(help="Scores of the mixture itself, to reuse.")] = None,
    examples: Annotated[int, Option(min=0, help="Largest number of mixtures whose audio is kept.")] = 4,
    chosen_by: Annotated[Path | None, Option(help="Scores by which examples are chosen, instead of these.")] = None,
    shard: Annotated[str, Option(help="Shard, as 3/50; a call without it then writes the table.")] = "1/1",
    jobs: Jobs = 1,
    device: Device = "auto",
) -> None:
    """Score a model, a baseline or estimates on a test set. Repeat the command to resume."""
    from audioslots.scoring.evaluate import EvaluationOptions, evaluate
    from audioslots.scoring.external import parse_costs

    numbers = re.fullmatch(r"(\d+)/(\d+)", shard)
    if numbers is None or not 1 <= int(numbers[1]) <= int(numbers[2]):
        raise InputError(f"--shard: {shard}; expected n/of, n from 1 to of, such as 3/50")
    if name and estimates is None:
        raise InputError(f"--name: {name} without --estimates; expected both")
    if cost and not name:
        raise InputError(f"--cost: {cost[0]} without --name; expected the name of the system")
    if (model is None) == (estimates is None):
        raise InputError("evaluate: give exactly one of --model and --estimates")
    if separation_config is not None and (model is None or is_untrained(model)):
        raise InputError(f"--separation-config: {model or estimates} has none; expected it only with a trained model")
    numbers_of_shard = (int(numbers[1]), int(numbers[2]))
    costs = parse_costs(cost or [])
    options = EvaluationOptions(benchmark, jobs, mixture_scores, examples, chosen_by, numbers_of_shard, costs)
    evaluate(_open_system(model, estimates, name, mixtures, device, separation_config), mixtures, out, options)


def _open_system(
    model: str | None, estimates: Path | None, name: str, mixtures: Path, device: str, config: Path | None
) -> System | SavedSystem:
    from audioslots.baselines.oracles import open_baseline
    from audioslots.scoring.estimates import SavedEstimates
    from audioslots.scoring.external import AudioFiles
    from audioslots.scoring.mixtures import read_mixtures

    if estimates is not None:
        return AudioFiles.load(estimates, name, mixtures) if name else SavedEstimates.load(estimates)
    if is_untrained(str(model)):
        return open_baseline(str(model), read_mixtures(mixtures)[0].read_rate())
    if Path(str(model)).exists():
        from audioslots.separation.separator import Separator  # torch models, which scoring does without

        return Separator.load(Path(str(model)), torch_device(device), config)
    raise InputError(f"{model}: no such run or file, and no baseline; expected one, or one of {list(BASELINES)}")


@use.command("export")
def export_model(
    model: Annotated[Path, Argument(help="Run folder or safetensors file.")],
    out: Annotated[Path, Argument(help="ONNX file to write.")],
) -> None:
    """Export a model to ONNX, checked against PyTorch."""
    from audioslots.separation.export import export

    made = export(model, out)
    for part in ("inputs", "outputs"):
        print(f"{part}: {', '.join(f'{name} {shape}' for name, shape in made[part].items())}")
    print(f"largest difference from PyTorch: {made['difference']:.1e}")
