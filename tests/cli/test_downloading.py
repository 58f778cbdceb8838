"""Commands that get data from elsewhere: what they write, and the one line when they cannot."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from calling import Call
from serving import Site, served

from audioslots.data.corpora import librispeech
from audioslots.data.librimix import official

TABLE = "Libri2Mix/libri2mix_test-clean.csv"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    with served({}) as site:
        yield site


def test_librispeech_is_downloaded(call: Call, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        info = tarfile.TarInfo("LibriSpeech/test-clean/7/1/7-1-0000.flac")
        info.size = 6
        tar.addfile(info, io.BytesIO(b"speech"))
    site.files["/test-clean.tar.gz"] = stream.getvalue()
    download = ("corpus", "download", "corpus", "--subset", "test-clean", "--url", site.url)
    assert "its SHA-256 is" in call.refused(*download)
    monkeypatch.setitem(librispeech.LIBRISPEECH, "test-clean", hashlib.sha256(stream.getvalue()).hexdigest())
    call.good(*download)
    assert Path("corpus/test-clean/7/1/7-1-0000.flac").read_bytes() == b"speech"


def test_metadata_is_downloaded_or_copied(call: Call, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"mixture_ID\na\n"
    site.files[f"/{TABLE}"] = content
    Path("clone/Libri2Mix").mkdir(parents=True)
    Path("clone", TABLE).write_bytes(content)
    for name in [name for name in official.FILES if name != TABLE and "test-clean" in name]:
        monkeypatch.delitem(official.FILES, name)
    sources = (("--url", site.url), ("--from", "clone"))
    for source in sources:
        assert "its checksum is" in call.refused("mixtures", "download", "LibriMix", "--subset", "test-clean", *source)
    monkeypatch.setitem(official.FILES, TABLE, hashlib.sha256(content).hexdigest())
    for source in sources:
        written = call.good("mixtures", "download", source[0].strip("-"), "--subset", "test-clean", *source)
        assert Path(written.strip()).read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("corpus download out", "--subset"),
        ("corpus download out --subset test", "no subset 'test' in LibriSpeech"),
        ("corpus download out --subset test-clean --url nowhere", "no address"),
        ("corpus download file/out --subset test-clean", "cannot be written"),
        ("mixtures download out --subset test", "LibriMix has no 'test'"),
        ("mixtures download out --from absent", "--from: no "),
        ("mixtures download out --url ftp://x", "no address"),
    ],
)
def test_what_cannot_be_downloaded_is_named(call: Call, arguments: str, problem: str) -> None:
    Path("file").touch()
    assert problem in call.refused(*arguments.split())
