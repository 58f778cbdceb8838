"""LibriMix's own metadata, at one commit, checked by SHA-256: downloaded, or taken from a folder."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pandas as pd

from audioslots.data.corpora.download import fetch
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import sha256, write_json
from audioslots.runtime.stage import Stage
from audioslots.schema import nearest

COMMIT = "b898ca375c03e4039cdb3dbe3dd485aad58ec7d1"
GITHUB = f"https://raw.githubusercontent.com/JorisCos/LibriMix/{COMMIT}/metadata/"
GIT = 40  # digits of an object ID of git
SUBSETS = ("dev-clean", "test-clean", "train-clean-100", "train-clean-360")
# File below metadata/ -> SHA-256. Where that is not known, the file's object ID in the commit's git tree (40 digits);
# its mixtures must then be those of its _info table too.
FILES = {
    "Libri2Mix/libri2mix_dev-clean.csv": "43ad88e65ee8678be73a79920fba1dcf44fa87271ba95a57205707edc0b85f77",
    "Libri2Mix/libri2mix_dev-clean_info.csv": "66b2578fe495a77ded588e91c7e9b097bfc577a73ece7fd3a8aa9014d78d1fe9",
    "Libri2Mix/libri2mix_test-clean.csv": "e3d4dc64a03fbbb00ba807a821df2994dbc0c3a9c6fe6a176cfa14949bd8624e",
    "Libri2Mix/libri2mix_test-clean_info.csv": "74fba1f80fb4ff4679968c26f235f27db7b4dc9101c7f908981ce242307cc8b5",
    "Libri2Mix/libri2mix_train-clean-100.csv": "4de1fdee085ed3f0149c42159d7774be427c8a48eeb2e4d6a92fc632022647d5",
    "Libri2Mix/libri2mix_train-clean-100_info.csv": "dde1785c4b8fa81e067ceb6d22f02af1a85be2bddf6bc9e5c243b91ffe20c319",
    "Libri2Mix/libri2mix_train-clean-360_info.csv": "9ec6420c644eb3e95a3d0296ccb03f8115d8f0d61e5bbd475fcec24c307ef9b3",
    "Libri2Mix/libri2mix_train-clean-360.csv": "6190d44fad70a6890237323b3d3e0a97325eaf3a",
    "Libri3Mix/libri3mix_dev-clean.csv": "28e95cd9fdcc7d5ba91772ee000ad3cdaa7b960f6b2b5051f0ba1e967d56ece6",
    "Libri3Mix/libri3mix_test-clean.csv": "83c7e053c6741b2d6268a4b03ca8344c5a23c51ea5560450baeed574fd59cbb8",
    "LibriSpeech/dev-clean.csv": "0eb428e40ae1ca4db4d7bdec37fd39ddd6da32aaa25f2fb79537ea2c436ef6dd",
    "LibriSpeech/test-clean.csv": "b312de12794724d475f7064776087e58935e6556a1124792ad887bb552aa4623",
    "LibriSpeech/train-clean-100.csv": "23dd19f4a16dbed1f9f42100db428bb0ce62ef8459462831b0cb9f5daf882de4",
}


def fetch_metadata(
    out: Path, subsets: list[str], source: Path | None = None, url: str = GITHUB, files: dict[str, str] = FILES
) -> list[Path]:
    """Get LibriMix's tables of some subsets into ``OUT/metadata``, laid out as in a clone of LibriMix.

    Files that are there and sound are left alone. ``OUT/metadata/manifest.json`` closes the folder.

    Args:
        out: folder to make; a benchmark takes it as its ``librimix``.
        subsets: of ``SUBSETS``.
        source: a clone of LibriMix, or its metadata folder, to copy from instead of downloading.
        url: where ``metadata/`` of the pinned commit lies.
        files: files below it with their checksums.

    Returns:
        The files, sorted as ``files`` is.

    Raises:
        InputError: an unknown subset; a file that is not to be had; content that is not the pinned commit's.
    """
    for subset in subsets:
        if subset not in SUBSETS:
            raise InputError(f"--subset: LibriMix has no {subset!r}; {nearest(subset, list(SUBSETS))}")
    wanted = [name for name in files if _subset(name) in subsets]
    folder = Path(out) / "metadata"
    makes = (*sorted({Path(name).parts[0] for name in files}), "manifest.json")
    with Stage(folder, "fetch", {"commit": COMMIT}, (__name__,), makes).opened():
        for name in wanted:
            path, checksum = folder / name, files[name]
            path.parent.mkdir(exist_ok=True)
            if path.exists() and _checksum(path, checksum) == checksum:
                continue
            received = path.with_name(f".{path.name}")
            if source is None:
                fetch(f"{url.rstrip('/')}/{name}", received, None)
            else:
                shutil.copyfile(_found(source, name), received)
            try:
                _require_official(received, checksum, folder, name)
                os.replace(received, path)
            finally:
                received.unlink(missing_ok=True)
        sums = {name: sha256(folder / name) for name in files if (folder / name).exists()}
        write_json(folder / "manifest.json", {"commit": COMMIT, "sha256": sums})
    return [folder / name for name in wanted]


def _subset(name: str) -> str:
    """``Libri2Mix/libri2mix_test-clean_info.csv`` -> ``test-clean``."""
    return Path(name).stem.removesuffix("_info").rpartition("_")[2]


def _checksum(path: Path, like: str) -> str:
    """A file's checksum of the kind that ``like`` is: SHA-256, or git's object ID."""
    if len(like) != GIT:
        return sha256(path)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _found(source: Path, name: str) -> Path:
    places = [Path(source) / "metadata" / name, Path(source) / name]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise InputError(f"--from: no {places[1]}; expected a clone of JorisCos/LibriMix, or its metadata folder")
    return found


def _require_official(path: Path, checksum: str, folder: Path, name: str) -> None:
    found = _checksum(path, checksum)
    if found != checksum:
        raise InputError(f"{name}: its checksum is {found}; expected {checksum}, of LibriMix's commit {COMMIT[:7]}")
    if len(checksum) == GIT:
        info = folder / name.replace(".csv", "_info.csv")
        ours, theirs = (sorted(pd.read_csv(file, dtype=str)["mixture_ID"]) for file in (path, info))
        if ours != theirs:
            raise InputError(f"{name}: its {len(ours)} mixtures are not those of {info.name}; expected the same")
