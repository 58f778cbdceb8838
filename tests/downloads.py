"""A server on loopback with LibriSpeech's archives and LibriMix's metadata, both small, for programs that download."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving import Site, served

from audioslots.data.librimix.metadata import draw, write_metadata

SUBSETS = {"train-clean": "train-clean-100", "dev-clean": "dev-clean", "test-clean": "test-clean"}
ROWS = "Libri2Mix/libri2mix_test-clean.csv"
BENCHMARK: dict[str, Any] = {
    "corpus": {"kind": "librispeech", "train": "train-clean-100", "validation": "dev-clean"},
    "test": {"subset": "test-clean", "rows": "official"},
    "dev": None,
}
"""Keys of a benchmark that is given nothing."""
PATCH = """\
import sys

if "download" in sys.orig_argv:
    from audioslots.data.corpora import download, librispeech
    from audioslots.data.librimix import official

    download.PAUSE_S = 0.01
    librispeech.OPENSLR, official.GITHUB = {url!r}, {url!r}
    librispeech.LIBRISPEECH.update({archives!r})
    official.FILES.clear()
    official.FILES.update({tables!r})
"""
"""A sitecustomize: the addresses and the checksums that those programs know."""


def archive(corpus: Path, subset: str) -> bytes:
    """The archive of a subset of a made corpus, under LibriSpeech's name."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        tar.add(corpus / subset, f"LibriSpeech/{SUBSETS[subset]}")
        table = (corpus / "SPEAKERS.TXT").read_bytes()
        info = tarfile.TarInfo("LibriSpeech/SPEAKERS.TXT")
        info.size = len(table)
        tar.addfile(info, io.BytesIO(table))
    return stream.getvalue()


@contextmanager
def serving(corpus: Path, folder: Path) -> Iterator[tuple[Site, dict[str, str]]]:
    """The server of a made corpus, and the environment in which programs know it for the official ones."""
    folder.mkdir()
    write_metadata(draw(corpus, "test-clean", 2, 2, 0), folder / "rows.csv")
    rows = (folder / "rows.csv").read_bytes()
    archives = {SUBSETS[subset]: archive(corpus, subset) for subset in SUBSETS}
    files = {f"/{name}.tar.gz": content for name, content in archives.items()} | {f"/{ROWS}": rows}
    with served(files) as site:
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in archives.items()}
        tables = {ROWS: hashlib.sha256(rows).hexdigest()}
        (folder / "sitecustomize.py").write_text(PATCH.format(url=site.url, archives=sums, tables=tables))
        yield site, {"PYTHONPATH": str(folder), "no_proxy": "*"}
