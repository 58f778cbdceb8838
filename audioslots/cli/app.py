"""The command line: one verb a stage, each a thin call. Imports stand in the verbs, so that each starts quickly."""

from __future__ import annotations

import errno
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from typer.exceptions import TyperException

from audioslots.cli.data import Jobs, corpus, mixtures
from audioslots.cli.report import reporting, results
from audioslots.config.untrained import COST
from audioslots.profiling.cards import CARDS, EFFICIENCY
from audioslots.runtime import stage
from audioslots.runtime.errors import InputError, Interrupted
from audioslots.runtime.gpus import take

app = typer.Typer(help=__doc__.partition(":")[0], no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.add_typer(corpus, name="corpus")
app.add_typer(mixtures, name="mixtures")
app.add_typer(reporting)
app.add_typer(results, name="results")

Device = Annotated[str, typer.Option(help="cpu, cuda or auto.")]
Rendered = Annotated[
    Path,
    typer.Option(help="Rendered mixtures: the folder of mix_clean, s1, s2; of several kinds, such as test/mix_both."),
]
Config = Annotated[Path | None, typer.Option(help="Variant to apply the model as; separation may differ from its own.")]


@app.callback()
def every_verb(
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for a process that works in the same folder; refuse else.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Make anew what another request or other code made; refuse or keep it else.")
    ] = False,
) -> None:
    """Work on what the verb that follows names."""
    stage.patient, stage.fresh = wait, fresh


@app.command("pack")
def pack_speech(
    corpus: Annotated[Path, typer.Argument(help="Folder of one subset, such as LibriSpeech/train-clean-100.")],
    out: Path,
    rate: Annotated[int, typer.Option(help="Hz: 8000 or 16000.")],
    noise: Annotated[bool, typer.Option("--noise", help="It is a part of noises in WHAM's layout.")] = False,
    jobs: Jobs = 1,
) -> None:
    """Pack one subset into one memory-mapped array, for training."""
    from audioslots.data.training.packing import pack

    pack(corpus.parent, corpus.name, out, rate, jobs, noise)


@app.command("train")
def train_variant(
    config: Annotated[Path, typer.Argument(help="A resolved variant.")],
    out: Annotated[Path, typer.Option(help="Run folder.")],
    device: Device = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Processes, a device each; they share every batch.")] = 1,
    strategy: Annotated[Literal["auto", "ddp"], typer.Option(help="How processes work together.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Threads that make batches; their number changes nothing.")] = 2,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write RUN/tensorboard too.")] = False,
    mix_on_device: Annotated[
        bool, typer.Option("--mix-on-device", help="Keep the speech in the device's memory and mix it there.")
    ] = False,
    scratch: Annotated[
        str,
        typer.Option(envvar="AUDIOSLOTS_SCRATCH", metavar="FOLDER", help="On this machine's disk: copy speech there."),
    ] = "",
) -> None:
    """Train one variant with one seed; repeat the command to resume an interrupted run."""
    from audioslots.config.variant import Resolved
    from audioslots.runtime import scratch as own_disk
    from audioslots.training.trainer import train

    own_disk.folder = own_disk.expanded(scratch) if scratch else None
    resolved = Resolved.read(config)
    _torch_device(device, devices)
    command = shlex.join(["audioslots", *sys.argv[1:]])
    train(resolved, out, device, devices, strategy, workers, tensorboard, mix_on_device, command=command)


@app.command("separate")
def separate_audio(
    audio: Annotated[list[Path], typer.Argument(help="WAV, FLAC, OGG or MP3, of any rate, channels and length.")],
    out: Annotated[Path, typer.Option(help="Folder of the estimates.")],
    model: Annotated[
        Path | None,
        typer.Option(help="Run folder or safetensors file; by default the weights that come with audioslots."),
    ] = None,
    config: Config = None,
    sources: Annotated[
        str, typer.Option(help="A number, or auto: as many as are found, by a model of several numbers of speakers.")
    ] = "",
    each_channel: Annotated[
        bool, typer.Option("--each-channel", help="Separate every channel by itself, not their mean.")
    ] = False,
    mixture_consistency: Annotated[
        bool, typer.Option("--mixture-consistency", help="Make the estimates add up to the recording.")
    ] = False,
    floating: Annotated[
        bool, typer.Option("--float", help="Write 32-bit float; 16-bit estimates are made quieter where they clip.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Separate recordings of any length; memory is bounded."""
    from audioslots.models.weights import SHIPPED
    from audioslots.separation.presence import Sources
    from audioslots.separation.recording import separate_file
    from audioslots.separation.separate import Separator

    if len({path.stem for path in audio}) < len(audio):
        names = ", ".join(map(str, audio))
        raise InputError(f"{names}: two of one name, whose estimates would be one file; expected different names")
    for path in audio:
        estimate = re.fullmatch(r"(.+?)(_c\d+)?_s\d+\.wav", path.name)
        if estimate and path.resolve().parent == out.resolve() and estimate[1] in {other.stem for other in audio}:
            raise InputError(f"{path}: would be replaced by an estimate of {estimate[1]}; expected another --out")
    if not re.fullmatch(r"[1-9]?|auto", sources):
        raise InputError(f"--sources: {sources}; expected a number from 1 to 9, or auto")
    asked: Sources = int(sources) if sources.isdecimal() else "auto" if sources == "auto" else None
    separator = Separator.load(model or SHIPPED, _torch_device(device), config)
    separator.finds(asked)
    for path in audio:
        for written in separate_file(separator, path, out, each_channel, mixture_consistency, floating, asked):
            print(written)


@app.command("export")
def export_model(
    model: Annotated[Path, typer.Argument(help="Run folder or safetensors file.")],
    out: Annotated[Path, typer.Argument(help="ONNX file to write.")],
) -> None:
    """Write a model's network as an ONNX file, for other runtimes, and hold it against PyTorch."""
    from audioslots.models.export import export

    made = export(model, out)
    for part in ("inputs", "outputs"):
        print(f"{part}: {', '.join(f'{name} {shape}' for name, shape in made[part].items())}")
    print(f"largest difference from PyTorch: {made['difference']:.1e}")


@app.command("estimate")
def estimate_mixtures(
    model: Annotated[Path, typer.Option(help="Run folder or safetensors file.")],
    mixtures: Rendered,
    out: Annotated[Path, typer.Option(help="Folder of the estimates.")],
    config: Config = None,
    device: Device = "auto",
) -> None:
    """Separate every mixture of a test set, for `evaluate --estimates` to score; repeat the command to resume it."""
    from audioslots.scoring.estimates import estimate
    from audioslots.separation.separate import Separator

    estimate(Separator.load(model, _torch_device(device), config), mixtures, out)


@app.command("evaluate")
def evaluate_system(
    mixtures: Rendered,
    out: Annotated[Path, typer.Option(help="scores.parquet to write.")],
    model: Annotated[
        str | None,
        typer.Option(help="Run folder, safetensors file, or a name: mixture, oracle-ibm, oracle-psm-512-256, ..."),
    ] = None,
    estimates: Annotated[
        Path | None, typer.Option(help="Instead: what `estimate` has written, or with --name the files of any system.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the system of another package that made the estimates.")] = "",
    cost: Annotated[
        list[str] | None, typer.Option(help=f"Of --name, key=number, for the costs: {', '.join(COST)}.")
    ] = None,
    config: Config = None,
    benchmark: Annotated[str, typer.Option(help="Name for the scores' benchmark column.")] = "",
    mixture_scores: Annotated[Path | None, typer.Option(help="Scores of the mixture itself, to be reused.")] = None,
    examples: Annotated[int, typer.Option(min=0, help="Mixtures kept to listen to, at most.")] = 4,
    chosen_by: Annotated[Path | None, typer.Option(help="Scores that choose them, if not those made here.")] = None,
    shard: Annotated[
        str, typer.Option(help="n/of: score every of-th mixture from the n-th on, and leave the table to a last call.")
    ] = "1/1",
    jobs: Jobs = 1,
    device: Device = "auto",
) -> None:
    """Separate and score every mixture of a test set, or score estimates of it; repeat the command to resume it."""
    from audioslots.config.untrained import BASELINES, is_untrained
    from audioslots.scoring.estimates import Estimated, Kept, System
    from audioslots.scoring.evaluate import evaluate, read_mixtures
    from audioslots.scoring.external import Files, costs_of

    numbers = re.fullmatch(r"(\d+)/(\d+)", shard)
    if numbers is None or not 1 <= int(numbers[1]) <= int(numbers[2]):
        raise InputError(f"--shard: {shard}; expected n/of, n from 1 to of, such as 3/50")
    if name and estimates is None:
        raise InputError(f"--name: {name} of no estimates; expected --estimates besides")
    if cost and not name:
        raise InputError(f"--cost: {cost[0]} of no --name; expected the name of the system that costs it")
    if (model is None) == (estimates is None):
        raise InputError("evaluate: --model and --estimates; expected one of the two")
    if config is not None and (model is None or is_untrained(model)):
        raise InputError(f"--config: {model or estimates} has none; expected it with a run or a model's file alone")
    system: System | Kept
    if estimates is not None:
        system = Files.load(estimates, name, mixtures) if name else Estimated.load(estimates)
    elif model is not None and is_untrained(model):
        from audioslots.baselines.oracles import baseline

        _, _, rate = read_mixtures(mixtures)[0].read()
        system = baseline(model, rate)
    elif model is not None and Path(model).exists():
        from audioslots.separation.separate import Separator

        system = Separator.load(Path(model), _torch_device(device), config)
    else:
        raise InputError(f"{model}: no such run or file, and no baseline; expected one, or one of {list(BASELINES)}")
    part = (int(numbers[1]), int(numbers[2]))
    evaluate(system, mixtures, out, benchmark, jobs, mixture_scores, examples, part, chosen_by, costs_of(cost or []))


@app.command("sizes")
def count_sizes(
    benchmark: Annotated[Path, typer.Argument(help="Its YAML file, such as config/libri2mix.yaml.")],
    variant: Annotated[list[str], typer.Argument(help="Variants: the first by its parts, each as a whole.")],
    page: Annotated[Path | None, typer.Option(help="Page of the documentation whose table is replaced.")] = None,
) -> None:
    """Count a variant's parameters, multiply-accumulates and peak training memory, part by part; nothing is trained."""
    from audioslots.profiling.sizes import sizes
    from audioslots.reporting.publish import put

    table = sizes(benchmark, variant)
    if page is not None:
        put(page, benchmark.as_posix(), table.markdown().strip())
    print(table.plain())


@app.command("plan")
def plan_benchmark(
    benchmark: Annotated[Path, typer.Argument(help="Its YAML file, such as config/libri2mix.yaml.")],
    card: Annotated[Literal[tuple(CARDS)], typer.Option(help="GPU that is assumed.")] = "h100",  # type: ignore[valid-type]
    efficiency: Annotated[float, typer.Option(min=0.01, max=1.0, help="Share of its data sheet's rate.")] = EFFICIENCY,
    rate: Annotated[float | None, typer.Option(min=1e-6, help="10^12 multiply-accumulates a second, instead.")] = None,
    measure: Annotated[
        int, typer.Option(min=0, help="Measure that on --device, in training steps of so many chunks.")
    ] = 0,
    device: Device = "auto",
    study: Annotated[list[str] | None, typer.Option(help="Instead of the benchmark's own; may be repeated.")] = None,
    page: Annotated[Path | None, typer.Option(help="Page of the documentation whose estimate is replaced.")] = None,
) -> None:
    """Count the jobs, GPU hours, memory and disk that a benchmark will ask for; nothing of it is run."""
    from audioslots.profiling.plan import plan, sustained
    from audioslots.reporting.publish import put

    if measure:
        rate = sustained(benchmark, measure, _torch_device(device))
        print(f"measured: {rate:.3g}·10¹² multiply-accumulates a second")
    made = plan(benchmark, rate, study, card, efficiency)
    prices = [] if rate else [made.prices]
    if page is not None:
        put(
            page,
            f"the plan of {benchmark.as_posix()}",
            "\n\n".join([made.total, *(p.markdown().strip() for p in prices)]),
        )
    print(made.table.plain(), *(p.plain() for p in prices), made.total, sep="\n\n")


def _torch_device(device: str, count: int = 1) -> str:
    if device in ("auto", "cuda"):
        take(count)
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device: {device} cannot be used ({str(error).splitlines()[0]}); expected cpu") from None
    return device


RUN_AGAIN = 75  # EX_TEMPFAIL


def main() -> None:
    """Run the command line: bad input ends with one line and exit status 2, never a traceback."""
    try:
        code = typer.main.get_command(app).main(standalone_mode=False)
    except InputError as error:
        _end(str(error), 2)
    except (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        _end(f"{error.filename}: {error.strerror}; expected a place that can be written", 2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        place = f"{error.filename}: " if error.filename else ""
        _end(f"{place}{error.strerror}; expected a place with room that can be written", 2)
    except Interrupted as error:
        _end(str(error), RUN_AGAIN)
    except (KeyboardInterrupt, typer.Abort):
        _end("interrupted", 130)
    except TyperException as error:
        if message := getattr(error, "format_message", str)():
            _end(f"{message} (see --help)", 2)
        sys.exit(2)  # no arguments: the help was printed
    sys.exit(code if isinstance(code, int) else 0)


def _end(message: str, code: int) -> NoReturn:
    print(f"audioslots: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
