"""LibriSpeech's archives: extracted whole or not at all, and never outside their own folder."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Site, served

from audioslots.data.corpora import download as download_module
from audioslots.data.corpora.librispeech import LIBRISPEECH, download
from audioslots.runtime.errors import InputError
from audioslots.runtime.stage import Stage


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TIMEOUT_S": 0.2, "ATTEMPTS": 2, "PAUSE_S": 0.001}.items():
        monkeypatch.setattr(download_module, name, value)


SPEECH = "LibriSpeech/test-clean/7/1/7-1-0000.flac"
WHOLE = {SPEECH: b"speech", "LibriSpeech/SPEAKERS.TXT": b"7 | F | test-clean | 1 | A\n"}


def member(name: str, **changes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in changes.items():
        setattr(info, key, value)
    return info


def packed(files: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    """A .tar.gz of files, then of members without content."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        tar.addfile(member("LibriSpeech", type=tarfile.DIRTYPE, mode=0o755))
        for name, content in files.items():
            tar.addfile(member(name, size=len(content)), io.BytesIO(content))
        for other in others:
            tar.addfile(other)
    return stream.getvalue()


class Archives:
    """A server of archives, and the command that downloads them."""

    def __init__(self, site: Site, out: Path) -> None:
        self.site, self.out = site, out

    def put(self, archive: bytes, subset: str = "test-clean") -> None:
        self.site.files[f"/{subset}.tar.gz"] = archive

    def get(self, *subsets: str) -> None:
        digests = {
            name.strip("/").removesuffix(".tar.gz"): hashlib.sha256(content).hexdigest()
            for name, content in self.site.files.items()
        }
        download(self.out, list(subsets) or ["test-clean"], self.site.url, digests)

    def refused(self, match: str) -> None:
        with pytest.raises(InputError, match=match):
            self.get()


@pytest.fixture
def archives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Archives]:
    monkeypatch.setenv("no_proxy", "*")
    with served({}) as site:
        yield Archives(site, tmp_path / "LibriSpeech")


def tree(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith((".lock", ".stage.json"))]
    return sorted(path.relative_to(folder).as_posix() for path in files)


def test_subsets_lie_in_the_corpus_root_with_the_table_of_speakers(archives: Archives) -> None:
    archives.put(packed(WHOLE))
    archives.put(packed({"LibriSpeech/dev-clean/8/1/8-1-0000.flac": b"x"}), "dev-clean")
    archives.get("test-clean", "dev-clean", "test-clean")
    assert tree(archives.out) == [
        "SPEAKERS.TXT",
        "dev-clean/8/1/8-1-0000.flac",
        "dev-clean/manifest.json",
        "test-clean/7/1/7-1-0000.flac",
        "test-clean/manifest.json",
    ]
    assert (archives.out / "test-clean/7/1/7-1-0000.flac").read_bytes() == b"speech"


def test_a_finished_subset_is_left_alone_and_a_changed_one_is_refused(archives: Archives) -> None:
    archives.put(packed(WHOLE))
    archives.get()
    archives.get()
    assert len(archives.site.asked) == 1
    flac = archives.out / "test-clean/7/1/7-1-0000.flac"
    flac.write_bytes(b"spee")
    archives.refused("test-clean: its files are not those of its manifest.json")
    (archives.out / "test-clean/manifest.json").unlink()
    archives.refused("test-clean: is not of this download")
    assert flac.read_bytes() == b"spee"


def test_a_run_killed_after_the_download_extracts_what_it_has(archives: Archives) -> None:
    archives.put(packed(WHOLE))
    leftover = archives.out / ".test-clean.extracting" / "LibriSpeech" / "test-clean" / "9"
    leftover.mkdir(parents=True)
    (archives.out / ".test-clean.tar.gz").write_bytes(packed(WHOLE))
    archives.get()
    assert archives.site.asked == []
    assert tree(archives.out) == ["SPEAKERS.TXT", "test-clean/7/1/7-1-0000.flac", "test-clean/manifest.json"]


def test_a_table_of_speakers_that_is_there_is_kept(archives: Archives) -> None:
    archives.put(packed(WHOLE))
    archives.out.mkdir()
    (archives.out / "SPEAKERS.TXT").write_text("mine")
    archives.get()
    assert (archives.out / "SPEAKERS.TXT").read_text() == "mine"


LINK = {"type": tarfile.SYMTYPE}


@pytest.mark.parametrize(
    "hostile",
    [
        member("LibriSpeech/test-clean/../../../escaped"),
        member("../escaped"),
        member("/escaped"),
        member("escaped"),
        member("LibriSpeech/dev-clean/7/1/7-1-0000.flac"),
        member("LibriSpeech/escaped.sh"),
        member("LibriSpeech/test-clean/7/out", **LINK, linkname="../../../../.."),
        member("LibriSpeech/test-clean/7/out", **LINK, linkname="/"),
        member("LibriSpeech/test-clean/7/out", type=tarfile.LNKTYPE, linkname="../../escaped"),
        member("LibriSpeech/SPEAKERS.TXT", **LINK, linkname="/"),
        member("LibriSpeech/test-clean/7/pipe", type=tarfile.FIFOTYPE),
        member("LibriSpeech/test-clean/7/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    ],
    ids=lambda info: f"{info.name} {info.linkname}",
)
def test_a_hostile_archive_is_refused_and_leaves_nothing(archives: Archives, hostile: tarfile.TarInfo) -> None:
    archives.put(packed({SPEECH: b"speech"}, hostile))
    before = tree(archives.out.parent)
    archives.refused(r"has a member .*; expected files under LibriSpeech/test-clean")
    assert set(tree(archives.out.parent)) - set(before) == {"LibriSpeech/.test-clean.tar.gz"}
    assert not (archives.out / ".test-clean.extracting").exists()


@pytest.mark.parametrize(
    ("archive", "problem"),
    [
        (packed(WHOLE)[:150], "cannot be extracted"),
        (b"no archive", "cannot be extracted"),
        (packed({"LibriSpeech/SPEAKERS.TXT": b""}), "has no LibriSpeech/test-clean"),
    ],
)
def test_a_damaged_archive_is_one_line(archives: Archives, archive: bytes, problem: str) -> None:
    archives.put(archive)
    archives.refused(problem)
    assert not (archives.out / "test-clean").exists()


def test_an_unknown_subset_names_the_nearest_before_anything_is_asked(archives: Archives) -> None:
    with pytest.raises(InputError, match="no subset 'test-claen' in LibriSpeech; did you mean 'test-clean'"):
        download(archives.out, ["test-claen"], archives.site.url, LIBRISPEECH)
    assert not archives.out.exists()


def test_two_downloads_into_one_folder_are_kept_apart(archives: Archives) -> None:
    archives.put(packed(WHOLE))
    with Stage(archives.out, "download-test-clean", {}, ()).locked():
        archives.refused("another process works there")


def test_the_checksums_are_torchaudios() -> None:
    from torchaudio.datasets.librispeech import _CHECKSUMS

    assert {f"http://www.openslr.org/resources/12/{subset}.tar.gz": sum for subset, sum in LIBRISPEECH.items()} == (
        _CHECKSUMS
    )
