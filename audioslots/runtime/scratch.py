"""A node's own copies of large files: random reads are slow where all nodes share a file system.

FOLDER/audioslots-<user>-<first 16 digits of its SHA-256>.i16   a copy, such as of speech.i16

The first process of a node copies, the others wait for it. The copy stays, for the trainings to come.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tqdm import tqdm

from audioslots.runtime.errors import InputError
from audioslots.runtime.files import written_aside
from audioslots.runtime.stage import Stage, require_room

PIECE = 16 << 20  # bytes of a read


def expanded(given: str) -> Path:
    """The folder that ``given`` names; variables, such as ``$SLURM_TMPDIR``, are those of this process.

    Raises:
        InputError: a variable is not set.
    """
    path = os.path.expandvars(given)
    if "$" in path:
        raise InputError(f"--scratch: {path}: a variable that is not set; expected a folder of this machine's own disk")
    return Path(path)


def local_copy(array: Path, digest: str, folder: Path) -> Path:
    """The copy of a file in a folder of this machine's own disk, made unless a copy of its size is there.

    Args:
        array: the file.
        digest: its SHA-256.
        folder: of the copies.

    Raises:
        InputError: the file does not match the digest; the folder cannot be written, or has no room.
    """
    size = array.stat().st_size
    copy = folder / f"audioslots-{os.getuid()}-{digest[:16]}{array.suffix}"
    with Stage(folder, copy.stem, {}, ()).locked(wait=True):
        if copy.is_file() and copy.stat().st_size == size:
            return copy
        for leftover in (copy, *folder.glob(f".{copy.stem}.*.tmp.*")):  # cut short, or of a process that was killed
            leftover.unlink(missing_ok=True)
        require_room(folder, size)
        with written_aside(copy) as aside:
            if _copy(array, aside, size) != digest:
                raise InputError(f"{array}: does not match manifest.json; expected SHA-256 {digest}")
    return copy


def _copy(source: Path, target: Path, size: int) -> str:
    """Copy a file in pieces; return the SHA-256 of what was read."""
    digest = hashlib.sha256()
    bar = tqdm(None, f"copy to {target.parent}", size, unit="B", unit_scale=True, disable=None)
    with open(source, "rb") as reading, open(target, "wb") as writing, bar:
        while piece := reading.read(PIECE):
            digest.update(piece)
            writing.write(piece)
            bar.update(len(piece))
    return digest.hexdigest()
