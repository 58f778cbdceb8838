"""How often blind stitching restores the order of chunks, given true sources that were shuffled in each.

Needs real speech: the folder of LibriSpeech's subsets and a metadata CSV of LibriMix, by arguments or the environment
(AUDIOSLOTS_LIBRISPEECH, AUDIOSLOTS_METADATA); the rows whose speech is on disk are taken.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import pandas as pd
import soundfile
import torch
from scipy.signal import resample_poly
from torch import Tensor

from audioslots.data.librimix.metadata import read_metadata, select, source_count
from audioslots.separation.chunking import cut, hop_of
from audioslots.separation.stitching import Stitcher

RATE = 8000
CHUNKS_S, OVERLAPS = (0.25, 0.5, 1.0, 2.0), (0.25, 0.5, 0.75)
AIM = 0.99


def sources_of(row: dict[str, object], librispeech: Path, count: int) -> Tensor:
    """The sources (S, T) of a row, as LibriMix mixes them in min mode."""
    sources = []
    for number in range(1, count + 1):
        speech, rate = soundfile.read(librispeech / str(row[f"source_{number}_path"]), dtype="float32")
        sources.append(resample_poly(speech * row[f"source_{number}_gain"], RATE, rate))
    length = min(map(len, sources))
    return torch.stack([torch.from_numpy(source[:length]).float() for source in sources])


def restored(sources: Tensor, chunk: int, hop: int, random: torch.Generator) -> tuple[int, int]:
    """Borders of chunks that blind order goes across rightly, and all of them."""
    stitcher, named = Stitcher(hop), []
    for piece in cut(sources, chunk, hop):
        order = torch.randperm(len(sources), generator=random)
        stitcher.add(piece[order][None])
        named.append([int(order[slot]) for slot in stitcher.order])
    return sum(one == other for one, other in zip(named, named[1:], strict=False)), len(named) - 1


def main() -> None:
    """Print the share of borders for every length of chunks and overlap."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, what in (("librispeech", "folder of its subsets"), ("metadata", "LibriMix's CSV")):
        default = os.environ.get(f"AUDIOSLOTS_{name.upper()}")
        parser.add_argument(f"--{name}", type=Path, default=Path(default) if default else None, help=what)
    given = parser.parse_args()
    if given.librispeech is None or given.metadata is None:
        print("Stitching: skipped, since --librispeech and --metadata are not given")
        return
    rows: pd.DataFrame = select(read_metadata(given.metadata), given.librispeech)
    if rows.empty:
        sys.exit(f"{given.metadata}: no row has all its sources under {given.librispeech}")
    torch.set_num_threads(1)
    random, count = torch.Generator().manual_seed(0), source_count(rows)
    right = {(chunk_s, overlap): [0, 0] for chunk_s in CHUNKS_S for overlap in OVERLAPS}
    for row in rows.to_dict("records"):
        sources = sources_of({str(key): value for key, value in row.items()}, given.librispeech, count)
        for (chunk_s, overlap), counted in right.items():
            chunk = round(chunk_s * RATE)
            good, every = restored(sources, chunk, hop_of(chunk, overlap), random)
            counted[0], counted[1] = counted[0] + good, counted[1] + every
    print(f"Order of shuffled true sources restored, {len(rows)} mixtures of {count}, {RATE} Hz")
    print(f"(at least {AIM:.0%} of the borders is aimed at)")
    for (chunk_s, overlap), (good, every) in right.items():
        print(
            f"  chunks of {chunk_s:4.2f} s, overlap {overlap:4.2f}  {good:>7} of {every:>7} borders  {good / every:.2%}"
        )


if __name__ == "__main__":
    main()
