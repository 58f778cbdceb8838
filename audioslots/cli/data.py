"""The verbs of the data: corpus and mixtures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from audioslots.runtime.errors import InputError

corpus = typer.Typer(help="Speech in LibriSpeech's layout.", no_args_is_help=True)
mixtures = typer.Typer(help="LibriMix: metadata and rendered mixtures.", no_args_is_help=True)

Jobs = Annotated[int, typer.Option(min=1, help="Processes; the result is the same for any number.")]
Subset = Annotated[Path, typer.Argument(help="Folder of one subset, such as LibriSpeech/test-clean.")]
HeldOut = Annotated[
    int, typer.Option(min=0, help="Draw from so many speakers alone, those that training holds out; 0: all.")
]
NoiseRoot = Annotated[Path | None, typer.Option(help="Noises in WHAM's layout: draw one for every mixture.")]
NoisePart = Annotated[Literal["tr", "cv", "tt"], typer.Option(help="Of --noise: to train, to validate, to test on.")]


def _numbers(text: str) -> list[int]:
    """``1,2,3`` as numbers.

    Raises:
        InputError: it is something else.
    """
    if not re.fullmatch(r"[1-9](,[1-9])*", text):
        raise InputError(f"--sources: {text}; expected a number from 1 to 9, or several, as in 1,2,3")
    return [int(number) for number in text.split(",")]


@corpus.command("synthesize")
def corpus_synthesize(
    out: Path,
    speakers: Annotated[int, typer.Option(help="Speakers of all subsets together.")],
    hours: Annotated[float, typer.Option(help="Hours of all subsets together.")],
    seed: int = 0,
    jobs: Jobs = 1,
) -> None:
    """Synthesize speech with eSpeak NG: train-clean, dev-clean and test-clean, no speaker in two of them."""
    from audioslots.data.corpora.synthesis import synthesize

    synthesize(out, speakers, hours, seed, jobs)


@corpus.command("noise")
def corpus_noise(
    out: Annotated[Path, typer.Argument(help="Folder that will hold tr, cv and tt.")],
    corpus: Annotated[Path, typer.Option(help="Corpus root: whose speakers babble.")],
    train: Annotated[str, typer.Option(help="Subset whose speakers babble in tr.")],
    validation: Annotated[str, typer.Option(help="In cv.")],
    test: Annotated[str, typer.Option(help="In tt.")],
    hours: Annotated[float, typer.Option(help="Hours of all parts together.")],
    seed: int = 0,
    jobs: Jobs = 1,
) -> None:
    """Synthesize noise in WHAM's layout: coloured noise and babble."""
    from audioslots.data.corpora.noise_synthesis import synthesize_noise

    synthesize_noise(out, corpus, {"tr": train, "cv": validation, "tt": test}, hours, seed, jobs)


@corpus.command("download")
def corpus_download(
    out: Annotated[Path, typer.Argument(help="Corpus root: the folder that will hold the subsets.")],
    subset: Annotated[list[str], typer.Option(help="test-clean, train-clean-360, ...; may be repeated.")],
    url: Annotated[str | None, typer.Option(help="Folder of the archives; openslr.org's by default.")] = None,
) -> None:
    """Download subsets of LibriSpeech; repeat the command to resume a broken download."""
    from audioslots.data.corpora.librispeech import OPENSLR, download

    download(out, subset, url or OPENSLR)


@corpus.command("import")
def corpus_import(
    speech: Annotated[
        Path, typer.Argument(help="A folder with a folder of recordings a speaker, or a CSV: path, speaker, sex.")
    ],
    root: Annotated[Path, typer.Argument(help="Corpus root: the folder that will hold the subset.")],
    subset: Annotated[str, typer.Option(help="Its name, such as my-train.")],
    jobs: Jobs = 1,
) -> None:
    """Bring speech of any rate and format into LibriSpeech's layout; repeat the command to resume it."""
    from audioslots.data.corpora.importing import bring

    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", subset):
        raise InputError(f"--subset: {subset!r}; expected small letters, digits and -")
    print(f"{root / subset}: {bring(speech, root, subset, jobs)} speakers")


@corpus.command("check")
def corpus_check(
    root: Path,
    against: Annotated[
        Path | None, typer.Option(help="LibriMix's CSV of mixtures, or of a LibriSpeech subset.")
    ] = None,
) -> None:
    """List every file that is missing, truncated, empty, or of the wrong format or length."""
    from audioslots.data.corpora.corpus import check

    problems = check(root, against)
    for problem in problems:
        print(problem)
    if problems:
        raise InputError(f"{root}: {len(problems)} problems; expected none")
    print(f"{root}: no problem found")


@mixtures.command("fetch")
def mixtures_fetch(
    out: Annotated[Path, typer.Argument(help="Folder to make, laid out as a clone of LibriMix.")],
    subset: Annotated[list[str] | None, typer.Option(help="May be repeated; all by default.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Copy from a clone of LibriMix instead of downloading.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Where its metadata/ lies; GitHub's by default.")] = None,
) -> None:
    """Get LibriMix's own metadata of the pinned commit, verified."""
    from audioslots.data.librimix.official import GITHUB, SUBSETS, fetch_metadata

    for path in fetch_metadata(out, subset or list(SUBSETS), source, url or GITHUB):
        print(path)


@mixtures.command("draw")
def mixtures_draw(
    corpus: Subset,
    out: Annotated[Path, typer.Argument(help="Metadata CSV to write; statistics are written beside it.")],
    count: Annotated[int, typer.Option(min=1)],
    sources: Annotated[
        str, typer.Option(help="A mixture; several numbers, as in 1,2,3: as many mixtures of each.")
    ] = "2",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    held_out: HeldOut = 0,
    noise: NoiseRoot = None,
    part: NoisePart = "tt",
) -> None:
    """Draw mixtures by LibriMix's rules."""
    from audioslots.data.librimix.metadata import draw_some, statistics, write_metadata
    from audioslots.data.librimix.noise import with_noise
    from audioslots.runtime.files import write_json

    numbers = _numbers(sources)
    if noise and len(numbers) > 1:
        raise InputError(f"--noise: {noise} with --sources {sources}; expected one number")
    metadata = draw_some(corpus.parent, corpus.name, numbers, count, seed, held_out)
    if noise:
        metadata = with_noise(metadata, corpus.parent, noise, part, seed)
    if out.suffix == ".json":
        raise InputError(f"{out}: is where the statistics would go; expected a name ending in .csv")
    facts = statistics(metadata, corpus.parent)
    write_metadata(metadata, out)
    write_json(out.with_suffix(".json"), facts)
    print(*(f"{key}: {value}" for key, value in facts.items()), sep="\n")


@mixtures.command("converse")
def mixtures_converse(
    corpus: Subset,
    out: Annotated[Path, typer.Argument(help="Metadata CSV to write.")],
    count: Annotated[int, typer.Option(min=1)],
    shortest: Annotated[float, typer.Option(help="Seconds.")] = 30.0,
    longest: Annotated[float, typer.Option(help="Seconds.")] = 120.0,
    sources: Annotated[int, typer.Option(min=2)] = 2,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    held_out: HeldOut = 0,
) -> None:
    """Draw conversations: long mixtures with turns, pauses and overlaps, to be rendered in mode max."""
    from audioslots.data.librimix.conversations import converse
    from audioslots.data.librimix.metadata import write_metadata

    table = converse(corpus.parent, corpus.name, sources, count, (shortest, longest), seed, held_out)
    write_metadata(table, out)
    print(f"{out}: {len(table)} conversations, overlaps {table['overlap'].min():.0%} to {table['overlap'].max():.0%}")


@mixtures.command("select")
def mixtures_select(
    metadata: Annotated[list[Path], typer.Argument(help="CSV of LibriMix; of several, all rows are taken.")],
    out: Annotated[Path, typer.Argument(help="Metadata CSV to write.")],
    librispeech: Annotated[Path, typer.Option(help="Folder of LibriSpeech's subsets.")],
    single: Annotated[bool, typer.Option("--single", help="First the first sources, as mixtures of one.")] = False,
    noise: NoiseRoot = None,
    part: NoisePart = "tt",
    seed: Annotated[int, typer.Option(min=0, help="Of the noises drawn.")] = 0,
) -> None:
    """Keep the rows whose every source is on disk, for a LibriSpeech that is only partly there."""
    from audioslots.data.librimix.metadata import joined, read_metadata, select, singles, write_metadata
    from audioslots.data.librimix.noise import with_noise

    tables = [read_metadata(table) for table in metadata]
    rows = joined([singles(tables[0]), *tables] if single else tables)
    if not librispeech.is_dir():
        raise InputError(f"{librispeech}: no such folder; expected LibriSpeech's subsets")
    selected = select(rows, librispeech)
    if selected.empty:
        raise InputError(f"{metadata[0]}: no row has all its sources under {librispeech}; expected at least one")
    if noise and (single or len(metadata) > 1):
        raise InputError(f"--noise: {noise} with several numbers of sources; expected one table, and no --single")
    if noise:
        selected = with_noise(selected, librispeech, noise, part, seed)
    write_metadata(selected, out)
    print(f"{out}: {len(selected)} of {len(rows)} mixtures have all their sources on disk")


@mixtures.command("render")
def mixtures_render(
    metadata: Path,
    librispeech: Annotated[Path, typer.Option(help="Corpus root: the folder that the CSV's paths start from.")],
    out: Annotated[Path, typer.Option()],
    rate: Annotated[int, typer.Option(help="Hz: 8000 or 16000.")],
    mode: Annotated[
        Literal["min", "max"], typer.Option(help="Cut to the shortest source, or pad to the longest.")
    ] = "min",
    types: Annotated[
        str, typer.Option(help="Of mix_clean,mix_both,mix_single; the last two need noise.")
    ] = "mix_clean",
    wham: Annotated[
        Path | None, typer.Option(help="WHAM's noise: the folder that the CSV's noise paths start from.")
    ] = None,
    jobs: Jobs = 1,
) -> None:
    """Render mixtures as LibriMix does, to the bit."""
    from audioslots.data.librimix.rendering import render

    print(render(metadata, librispeech, out, rate, mode, jobs, tuple(types.split(",")), wham))


@mixtures.command("apart")
def mixtures_apart(
    mixtures: Annotated[Path, typer.Argument(help="Rendered mixtures: the folder of mix_clean, s1, s2.")],
    packed: Annotated[Path, typer.Option(help="Packed training speech.")],
    held_out: Annotated[int, typer.Option(min=0, help="Speakers that training leaves out.")] = 0,
) -> None:
    """Check that no speaker of the mixtures is trained on."""
    from audioslots.data.librimix.speakers import speakers_apart

    trained, mixed = speakers_apart(mixtures, packed, held_out)
    print(f"{mixtures}: none of its {mixed} speakers is among the {trained} that are trained on")
