"""LibriSpeech (V. Panayotov, G. Chen, D. Povey, S. Khudanpur, ICASSP 2015) from openslr.org/12, subset by subset."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from audioslots.data.corpora.download import fetch
from audioslots.runtime.errors import InputError
from audioslots.runtime.files import read_json, sha256, write_json
from audioslots.runtime.stage import Stage
from audioslots.schema import nearest

OPENSLR = "https://www.openslr.org/resources/12/"
# SHA-256 of <subset>.tar.gz, as in torchaudio 2.11's datasets/librispeech.py.
LIBRISPEECH = {
    "dev-clean": "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    "dev-other": "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    "test-clean": "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    "test-other": "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
    "train-clean-100": "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    "train-clean-360": "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    "train-other-500": "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
}
EXTRACTED = 1.1  # size of the extracted speech over the archive's, at most: FLAC hardly compresses
# Python 3.11.4 and later look at members by themselves too; before, the checks of ``_members`` stand alone.
FILTERED: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def download(out: Path, subsets: list[str], url: str = OPENSLR, digests: dict[str, str] = LIBRISPEECH) -> None:
    """Download subsets of LibriSpeech and extract them: ``OUT/<subset>/...``, ``OUT/SPEAKERS.TXT``.

    A subset appears whole, closed by its ``manifest.json``, or not at all; one that is there is verified by names and
    sizes of its files and left alone. The archive is removed when its speech is there.

    Args:
        out: corpus root to make.
        subsets: names in ``digests``.
        url: folder of the archives.
        digests: SHA-256 of each subset's archive.

    Raises:
        InputError: an unknown subset; a subset that is there, but not of this making or changed since; and what
            ``fetch`` and ``extract`` raise.
    """
    for subset in subsets:
        if subset not in digests:
            raise InputError(f"--subset: no subset {subset!r} in LibriSpeech; {nearest(subset, list(digests))}")
    for subset in dict.fromkeys(subsets):
        request = {"archive_sha256": digests[subset]}
        with Stage(out, f"download-{subset}", request, (__name__,), (subset,)).opened():
            if _is_there(out / subset, digests[subset]):
                continue
            archive = out / f".{subset}.tar.gz"
            if not archive.exists() or sha256(archive) != digests[subset]:
                fetch(f"{url.rstrip('/')}/{subset}.tar.gz", archive, digests[subset], EXTRACTED)
            extract(archive, out, subset, digests[subset])
            archive.unlink()


def _is_there(folder: Path, digest: str) -> bool:
    if not folder.exists():
        return False
    if not (folder / "manifest.json").is_file():
        raise InputError(f"{folder}: is not of this download; expected no such folder, or another OUT")
    if read_json(folder / "manifest.json") != _manifest(folder, digest):
        raise InputError(f"{folder}: its files are not those of its manifest.json; expected them: delete the folder")
    return True


def _manifest(folder: Path, digest: str) -> dict[str, object]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    sizes = [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in files]
    return {
        "archive_sha256": digest,
        "files": len(sizes),
        "bytes": sum(size for _, size in sizes),
        "names_and_sizes_sha256": hashlib.sha256("".join(f"{n} {s}\n" for n, s in sizes).encode()).hexdigest(),
    }


def extract(archive: Path, out: Path, subset: str, digest: str) -> None:
    """Extract one subset beside its final place, then move it there; tables such as SPEAKERS.TXT go to ``out`` itself.

    Raises:
        InputError: the archive is damaged or lacks the subset; a member is no plain file or folder, or would lie
            elsewhere than ``LibriSpeech/<subset>/`` and ``LibriSpeech/*.TXT``. Nothing is left of it then.
    """
    aside = out / f".{subset}.extracting"
    shutil.rmtree(aside, ignore_errors=True)  # of a killed run
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(aside, _members(tar, subset, archive), **FILTERED)
        speech = aside / "LibriSpeech" / subset
        if not speech.is_dir():
            raise InputError(f"{archive}: has no LibriSpeech/{subset}; expected LibriSpeech's archive of it")
        write_json(speech / "manifest.json", _manifest(speech, digest))
        for table in sorted((aside / "LibriSpeech").glob("*.TXT")):
            if not (out / table.name).exists():
                os.replace(table, out / table.name)
        os.replace(speech, out / subset)
    except (tarfile.TarError, EOFError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{archive}: cannot be extracted ({error}); expected LibriSpeech's archive") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _members(tar: tarfile.TarFile, subset: str, archive: Path) -> Iterator[tarfile.TarInfo]:
    """The members one by one, each checked before it is extracted."""
    for member in tqdm(tar, f"extract {subset}", unit="file", disable=None):
        parts = PurePosixPath(member.name).parts
        inside = parts[:1] == ("LibriSpeech",) and ".." not in parts
        placed = parts[1:2] == (subset,) or (len(parts) == 2 and parts[1].endswith(".TXT") and member.isfile())
        folder_above = parts == ("LibriSpeech",) and member.isdir()
        if not (inside and (placed or folder_above) and (member.isfile() or member.isdir())):
            raise InputError(f"{archive}: has a member {member.name!r}; expected files under LibriSpeech/{subset}")
        yield member
