"""Commands that make data: corpus and mixtures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option, Typer

from audioslots.cli.options import Jobs
from audioslots.runtime.errors import InputError

data = Typer()
corpus, mixtures = Typer(no_args_is_help=True), Typer(no_args_is_help=True)
data.add_typer(corpus, name="corpus", help="Get, check and pack speech in LibriSpeech's layout.")
data.add_typer(mixtures, name="mixtures", help="Get, sample, render and check LibriMix mixtures.")

Subset = Annotated[Path, Argument(help="Folder of one subset, such as LibriSpeech/test-clean.")]
CorpusRoot = Annotated[Path, Option(help="Corpus root: the folder of LibriSpeech's subsets.")]
Rate = Annotated[int, Option(help="Sample rate in Hz: 8000 or 16000.")]
Seed = Annotated[int, Option(min=0, help="Random seed.")]
Count = Annotated[int, Option(min=1, help="Number of mixtures.")]
HeldOut = Annotated[int, Option(min=0, help="Number of held-out training speakers to draw from; 0: all speakers.")]
NoiseRoot = Annotated[Path | None, Option(help="Noise in WHAM's layout: adds one noise to every mixture.")]
NoisePart = Annotated[Literal["tr", "cv", "tt"], Option(help="Part of --noise: training, validation or test.")]


@corpus.command("synthesize")
def synthesize_corpus(
    out: Annotated[Path, Argument(help="Corpus root to write.")],
    speakers: Annotated[int, Option(help="Number of speakers, over all subsets.")],
    hours: Annotated[float, Option(help="Hours of speech, over all subsets.")],
    seed: Seed = 0,
    jobs: Jobs = 1,
) -> None:
    """Synthesize speech with eSpeak NG. Writes train-clean, dev-clean and test-clean, which share no speaker."""
    from audioslots.data.corpora.synthesis import synthesize

    synthesize(out, speakers, hours, seed, jobs)


@corpus.command("noise")
def synthesize_noise(
    out: Annotated[Path, Argument(help="Folder to write tr, cv and tt to.")],
    corpus: Annotated[Path, Option(help="Corpus root whose speakers supply the babble.")],
    train: Annotated[str, Option(help="Subset whose speakers supply the babble of tr.")],
    validation: Annotated[str, Option(help="Subset whose speakers supply the babble of cv.")],
    test: Annotated[str, Option(help="Subset whose speakers supply the babble of tt.")],
    hours: Annotated[float, Option(help="Hours of noise, over tr, cv and tt.")],
    seed: Seed = 0,
    jobs: Jobs = 1,
) -> None:
    """Synthesize coloured noise and babble in WHAM's layout."""
    from audioslots.data.corpora.noise_synthesis import synthesize_noise

    synthesize_noise(out, corpus, {"tr": train, "cv": validation, "tt": test}, hours, seed, jobs)


@corpus.command("download")
def download_corpus(
    out: Annotated[Path, Argument(help="Corpus root: the folder to put the subsets in.")],
    subset: Annotated[list[str], Option(help="Subset, such as test-clean; may be repeated.")],
    url: Annotated[str | None, Option(help="URL of the archives' folder; by default openslr.org's.")] = None,
) -> None:
    """Download subsets of LibriSpeech. Repeat the command to resume."""
    from audioslots.data.corpora.librispeech import OPENSLR, download

    download(out, subset, url or OPENSLR)


@corpus.command("import")
def import_corpus(
    speech: Annotated[Path, Argument(help="Folder with one folder per speaker, or CSV: path, speaker, sex.")],
    root: Annotated[Path, Argument(help="Corpus root: the folder to put the subset in.")],
    subset: Annotated[str, Option(help="Name of the new subset, such as my-train.")],
    jobs: Jobs = 1,
) -> None:
    """Import speech of any rate and format. Repeat the command to resume."""
    from audioslots.data.corpora.importing import bring

    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", subset):
        raise InputError(f"--subset: {subset!r}; expected small letters, digits and -")
    print(f"{root / subset}: {bring(speech, root, subset, jobs)} speakers")


@corpus.command("check")
def check_corpus(
    root: Annotated[Path, Argument(help="Corpus root.")],
    against: Annotated[Path | None, Option(help="LibriMix CSV whose files to look for.")] = None,
) -> None:
    """List missing, truncated, empty and wrong audio files."""
    from audioslots.data.corpora.corpus import check

    problems = check(root, against)
    print(*problems or [f"{root}: no problem found"], sep="\n")
    if problems:
        raise InputError(f"{root}: {len(problems)} problems; expected none")


@corpus.command("pack")
def pack_subset(
    corpus: Subset,
    out: Annotated[Path, Argument(help="Folder to write.")],
    rate: Rate,
    noise: Annotated[bool, Option("--noise", help="Pack a folder of noise in WHAM's layout.")] = False,
    jobs: Jobs = 1,
) -> None:
    """Pack a subset into one memory-mapped array, for training."""
    from audioslots.data.training.packing import pack

    pack(corpus.parent, corpus.name, out, rate, jobs, noise)


@mixtures.command("download")
def download_metadata(
    out: Annotated[Path, Argument(help="Folder to write, laid out as a clone of LibriMix.")],
    subset: Annotated[list[str] | None, Option(help="Subset; may be repeated; by default all.")] = None,
    source: Annotated[Path | None, Option("--from", help="Clone of LibriMix to copy from instead.")] = None,
    url: Annotated[str | None, Option(help="URL of the folder of metadata/; by default GitHub's.")] = None,
) -> None:
    """Download LibriMix's metadata, at a pinned commit, verified."""
    from audioslots.data.librimix.official import GITHUB, SUBSETS, fetch_metadata

    for path in fetch_metadata(out, subset or list(SUBSETS), source, url or GITHUB):
        print(path)


@mixtures.command("sample")
def sample_mixtures(
    corpus: Subset,
    out: Annotated[Path, Argument(help="Metadata CSV to write; statistics are written next to it, as JSON.")],
    count: Count,
    num_speakers: Annotated[
        str, Option(help="Number of speakers, or several with equally many mixtures: 1,2,3.")
    ] = "2",
    seed: Seed = 0,
    held_out: HeldOut = 0,
    noise: NoiseRoot = None,
    part: NoisePart = "tt",
) -> None:
    """Sample mixtures by LibriMix's rules."""
    from audioslots.data.librimix.metadata import draw_some, statistics, write_metadata
    from audioslots.data.librimix.noise import with_noise
    from audioslots.runtime.files import write_json

    if not re.fullmatch(r"[1-9](,[1-9])*", num_speakers):
        raise InputError(f"--num-speakers: {num_speakers}; expected a number from 1 to 9, or several, as in 1,2,3")
    numbers = [int(number) for number in num_speakers.split(",")]
    if noise and len(numbers) > 1:
        raise InputError(f"--noise: {noise} with --num-speakers {num_speakers}; expected one number")
    if out.suffix == ".json":
        raise InputError(f"{out}: the statistics would have this name; expected a name ending in .csv")
    metadata = draw_some(corpus.parent, corpus.name, numbers, count, seed, held_out)
    if noise:
        metadata = with_noise(metadata, corpus.parent, noise, part, seed)
    facts = statistics(metadata, corpus.parent)
    write_metadata(metadata, out)
    write_json(out.with_suffix(".json"), facts)
    print(*(f"{key}: {value}" for key, value in facts.items()), sep="\n")


@mixtures.command("sample-conversations")
def sample_conversations(
    corpus: Subset,
    out: Annotated[Path, Argument(help="Metadata CSV to write.")],
    count: Count,
    shortest: Annotated[float, Option(help="Shortest conversation, in seconds.")] = 30.0,
    longest: Annotated[float, Option(help="Longest conversation, in seconds.")] = 120.0,
    num_speakers: Annotated[int, Option(min=2, help="Number of speakers per conversation.")] = 2,
    seed: Seed = 0,
    held_out: HeldOut = 0,
) -> None:
    """Sample conversations: long mixtures with turns, pauses and overlaps. Render them with --mode max."""
    from audioslots.data.librimix.conversations import converse
    from audioslots.data.librimix.metadata import write_metadata

    table = converse(corpus.parent, corpus.name, num_speakers, count, (shortest, longest), seed, held_out)
    write_metadata(table, out)
    print(f"{out}: {len(table)} conversations, overlaps {table['overlap'].min():.0%} to {table['overlap'].max():.0%}")


@mixtures.command("select")
def select_mixtures(
    metadata: Annotated[list[Path], Argument(help="CSVs of LibriMix, whose rows are merged.")],
    out: Annotated[Path, Argument(help="Metadata CSV to write.")],
    librispeech: CorpusRoot,
    single: Annotated[bool, Option("--single", help="Put the first CSV's first sources in front.")] = False,
    noise: NoiseRoot = None,
    part: NoisePart = "tt",
    seed: Seed = 0,
) -> None:
    """Select the rows whose sources are all on disk."""
    from audioslots.data.librimix.metadata import joined, read_metadata, select, singles, write_metadata
    from audioslots.data.librimix.noise import with_noise

    if noise and (single or len(metadata) > 1):
        raise InputError(f"--noise: {noise} with several numbers of sources; expected one table, and no --single")
    tables = [read_metadata(table) for table in metadata]
    rows = joined([singles(tables[0]), *tables] if single else tables)
    if not librispeech.is_dir():
        raise InputError(f"{librispeech}: no such folder; expected LibriSpeech's subsets")
    selected = select(rows, librispeech)
    if selected.empty:
        raise InputError(f"{metadata[0]}: no row has all its sources under {librispeech}; expected at least one")
    if noise:
        selected = with_noise(selected, librispeech, noise, part, seed)
    write_metadata(selected, out)
    print(f"{out}: {len(selected)} of {len(rows)} mixtures have all their sources on disk")


@mixtures.command("render")
def render_mixtures(
    metadata: Annotated[Path, Argument(help="Metadata CSV.")],
    librispeech: CorpusRoot,
    out: Annotated[Path, Option(help="Folder to write.")],
    rate: Rate,
    mode: Annotated[Literal["min", "max"], Option(help="Length: of the shortest source, or of the longest.")] = "min",
    types: Annotated[str, Option(help="Kinds of mixtures, of mix_clean,mix_both,mix_single.")] = "mix_clean",
    wham: Annotated[Path | None, Option(help="Root of the noise paths, for mix_both and mix_single.")] = None,
    jobs: Jobs = 1,
) -> None:
    """Render mixtures as LibriMix does, to the bit."""
    from audioslots.data.librimix.rendering import render

    print(render(metadata, librispeech, out, rate, mode, jobs, tuple(types.split(",")), wham))


@mixtures.command("check-speakers")
def check_speakers(
    mixtures: Annotated[Path, Argument(help="Rendered mixtures: the folder of mix_clean, s1, s2.")],
    packed: Annotated[Path, Option(help="Packed training speech.")],
    held_out: Annotated[int, Option(min=0, help="Number of speakers that training holds out.")] = 0,
) -> None:
    """Check that training uses no speaker of the mixtures."""
    from audioslots.data.librimix.speakers import speakers_apart

    trained, mixed = speakers_apart(mixtures, packed, held_out)
    print(f"{mixtures}: none of its {mixed} speakers is among the {trained} that are trained on")
