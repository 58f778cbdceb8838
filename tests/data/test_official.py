"""LibriMix's own metadata: the pinned commit's, or none."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Site, served

from audioslots.data.download import Patience
from audioslots.data.official import COMMIT, FILES, SUBSETS, fetch_metadata
from audioslots.errors import InputError

QUICK = Patience(timeout_s=0.2, attempts=2, pause_s=0.001)
MADE = {
    "Libri2Mix/libri2mix_test-clean.csv": b"mixture_ID\na\n",
    "LibriSpeech/test-clean.csv": b"length\n1\n",
    "Libri2Mix/libri2mix_train-clean-360_info.csv": b"mixture_ID,speaker_1_ID\na,1\nb,2\n",
    "Libri2Mix/libri2mix_train-clean-360.csv": b"mixture_ID,source_1_path\na,x\nb,y\n",
}
SUMS: dict[str, str | None] = {name: hashlib.sha256(content).hexdigest() for name, content in MADE.items()}
SUMS["Libri2Mix/libri2mix_train-clean-360.csv"] = None
BOTH = ["test-clean", "train-clean-360"]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    with served({f"/{name}": content for name, content in MADE.items()}) as site:
        yield site


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name, content in MADE.items():
        path = tmp_path / "clone" / "metadata" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "clone"


def content(out: Path) -> dict[str, bytes]:
    files = [path for path in (out / "metadata").rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {path.relative_to(out / "metadata").as_posix(): path.read_bytes() for path in files}


def test_the_metadata_is_downloaded_once_and_closed_by_a_manifest(site: Site, tmp_path: Path) -> None:
    for _ in range(2):
        paths = fetch_metadata(tmp_path / "out", BOTH, None, site.url, SUMS, QUICK)
    assert [path.read_bytes() for path in paths] == list(MADE.values())
    assert content(tmp_path / "out") == MADE
    assert len(site.asked) == len(MADE)
    manifest = json.loads((tmp_path / "out/metadata/manifest.json").read_text())
    assert manifest["commit"] == COMMIT
    assert {name: sum for name, sum in manifest["sha256"].items() if SUMS[name]} == {n: s for n, s in SUMS.items() if s}


def test_the_metadata_is_taken_from_a_clone_or_its_metadata_folder(clone: Path, tmp_path: Path) -> None:
    for number, source in enumerate((clone, clone / "metadata")):
        fetch_metadata(tmp_path / str(number), BOTH, source, files=SUMS)
        assert content(tmp_path / str(number)) == MADE
    fetch_metadata(tmp_path / "part", ["test-clean"], clone, files=SUMS)
    assert set(content(tmp_path / "part")) == set(list(MADE)[:2])


def test_a_file_that_was_changed_is_fetched_again(site: Site, tmp_path: Path) -> None:
    fetch_metadata(tmp_path / "out", BOTH, None, site.url, SUMS, QUICK)
    (tmp_path / "out/metadata/LibriSpeech/test-clean.csv").write_bytes(b"other")
    fetch_metadata(tmp_path / "out", BOTH, None, site.url, SUMS, QUICK)
    assert content(tmp_path / "out") == MADE


@pytest.mark.parametrize("way", ["download", "clone"])
def test_other_content_is_refused(site: Site, clone: Path, tmp_path: Path, way: str) -> None:
    name = "Libri2Mix/libri2mix_test-clean.csv"
    site.files[f"/{name}"] = b"other"
    (clone / "metadata" / name).write_bytes(b"other")
    with pytest.raises(InputError, match="libri2mix_test-clean.csv: its SHA-256 is"):
        fetch_metadata(tmp_path / "out", BOTH, clone if way == "clone" else None, site.url, SUMS, QUICK)
    assert not (tmp_path / "out/metadata" / name).exists()
    assert not (tmp_path / "out/metadata/manifest.json").exists()


@pytest.mark.parametrize("table", [b"mixture_ID\na\n", b"mixture_ID\na\nc\n", b"mixture_ID\na\nb\nb\n", b"x\na\n", b""])
def test_a_table_without_checksum_must_hold_the_mixtures_of_its_info(clone: Path, tmp_path: Path, table: bytes) -> None:
    name = "Libri2Mix/libri2mix_train-clean-360.csv"
    (clone / "metadata" / name).write_bytes(table)
    with pytest.raises(InputError, match=r"libri2mix_train-clean-360\.csv: .*it is removed"):
        fetch_metadata(tmp_path / "out", BOTH, clone, files=SUMS)
    assert not (tmp_path / "out/metadata" / name).exists()


def test_what_is_missing_and_what_is_unknown_are_named(clone: Path, tmp_path: Path) -> None:
    (clone / "metadata/LibriSpeech/test-clean.csv").unlink()
    with pytest.raises(InputError, match=r"--from: no .*LibriSpeech/test-clean.csv; expected a clone"):
        fetch_metadata(tmp_path / "out", ["test-clean"], clone, files=SUMS)
    with pytest.raises(InputError, match="--subset: LibriMix has no 'train-clean'; did you mean 'train-clean-"):
        fetch_metadata(tmp_path / "out", ["train-clean"], clone, files=SUMS)


def test_every_official_file_has_a_checksum_but_one_with_an_info_table() -> None:
    unknown = [name for name, sum in FILES.items() if sum is None]
    assert unknown == ["Libri2Mix/libri2mix_train-clean-360.csv"]
    assert FILES["Libri2Mix/libri2mix_train-clean-360_info.csv"]
    assert all(re.fullmatch("[0-9a-f]{64}", sum) for sum in FILES.values() if sum)


def test_the_real_metadata_is_that_of_the_pinned_commit(shared: Path, tmp_path: Path) -> None:
    paths = fetch_metadata(tmp_path / "out", [name for name in SUBSETS if "360" not in name], shared / "librimix")
    assert len(paths) == 11
