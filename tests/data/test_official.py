"""LibriMix's own metadata: the pinned commit's, or none."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Site, served

from audioslots.data.corpora import download as download_module
from audioslots.data.librimix.official import COMMIT, FILES, SUBSETS, fetch_metadata
from audioslots.runtime.errors import InputError


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TIMEOUT_S": 0.2, "ATTEMPTS": 2, "PAUSE_S": 0.001}.items():
        monkeypatch.setattr(download_module, name, value)


MADE = {
    "Libri2Mix/libri2mix_test-clean.csv": b"mixture_ID\na\n",
    "LibriSpeech/test-clean.csv": b"length\n1\n",
    "Libri2Mix/libri2mix_train-clean-360_info.csv": b"mixture_ID,speaker_1_ID\na,1\nb,2\n",
    "Libri2Mix/libri2mix_train-clean-360.csv": b"mixture_ID,source_1_path\na,x\nb,y\n",
}
LARGE = "Libri2Mix/libri2mix_train-clean-360.csv"


def git_object(content: bytes) -> str:
    return hashlib.sha1(b"blob " + str(len(content)).encode() + b"\0" + content).hexdigest()


SUMS = {name: hashlib.sha256(content).hexdigest() for name, content in MADE.items()}
SUMS[LARGE] = git_object(MADE[LARGE])
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
    files = [
        path
        for path in (out / "metadata").rglob("*")
        if path.is_file() and path.name[0] != "." and path.suffix != ".json"
    ]
    return {path.relative_to(out / "metadata").as_posix(): path.read_bytes() for path in files}


def test_the_metadata_is_downloaded_once_and_closed_by_a_manifest(site: Site, tmp_path: Path) -> None:
    for _ in range(2):
        paths = fetch_metadata(tmp_path / "out", BOTH, None, site.url, SUMS)
    assert [path.read_bytes() for path in paths] == list(MADE.values())
    assert content(tmp_path / "out") == MADE
    assert len(site.asked) == len(MADE)
    manifest = json.loads((tmp_path / "out/metadata/manifest.json").read_text())
    assert manifest["commit"] == COMMIT
    assert manifest["sha256"] == SUMS | {LARGE: hashlib.sha256(MADE[LARGE]).hexdigest()}


def test_the_metadata_is_taken_from_a_clone_or_its_metadata_folder(clone: Path, tmp_path: Path) -> None:
    for number, source in enumerate((clone, clone / "metadata")):
        fetch_metadata(tmp_path / str(number), BOTH, source, files=SUMS)
        assert content(tmp_path / str(number)) == MADE
    fetch_metadata(tmp_path / "part", ["test-clean"], clone, files=SUMS)
    assert set(content(tmp_path / "part")) == set(list(MADE)[:2])


def test_a_file_that_was_changed_is_fetched_again(site: Site, tmp_path: Path) -> None:
    fetch_metadata(tmp_path / "out", BOTH, None, site.url, SUMS)
    (tmp_path / "out/metadata/LibriSpeech/test-clean.csv").write_bytes(b"other")
    fetch_metadata(tmp_path / "out", BOTH, None, site.url, SUMS)
    assert content(tmp_path / "out") == MADE


@pytest.mark.parametrize("way", ["download", "clone"])
@pytest.mark.parametrize("name", ["Libri2Mix/libri2mix_test-clean.csv", LARGE])
def test_other_content_is_refused(site: Site, clone: Path, tmp_path: Path, way: str, name: str) -> None:
    other = MADE[name] + b"c\n"
    site.files[f"/{name}"] = other
    (clone / "metadata" / name).write_bytes(other)
    with pytest.raises(InputError, match=f"^{name}: its checksum is .*; expected {SUMS[name]}"):
        fetch_metadata(tmp_path / "out", BOTH, clone if way == "clone" else None, site.url, SUMS)
    assert name not in content(tmp_path / "out")
    assert set(content(tmp_path / "out")) < set(MADE)
    assert not (tmp_path / "out/metadata/manifest.json").exists()


@pytest.mark.parametrize("table", [b"mixture_ID\na\n", b"mixture_ID\na\nc\n", b"mixture_ID\na\nb\nb\n"])
def test_a_table_without_sha256_must_hold_the_mixtures_of_its_info_table(clone, tmp_path, table: bytes) -> None:
    (clone / "metadata" / LARGE).write_bytes(table)
    with pytest.raises(InputError, match=r"its \d mixtures are not those of libri2mix_train-clean-360_info.csv"):
        fetch_metadata(tmp_path / "out", BOTH, clone, files=SUMS | {LARGE: git_object(table)})
    assert LARGE not in content(tmp_path / "out")


def test_what_is_missing_and_what_is_unknown_are_named(clone: Path, tmp_path: Path) -> None:
    (clone / "metadata/LibriSpeech/test-clean.csv").unlink()
    with pytest.raises(InputError, match=r"--from: no .*LibriSpeech/test-clean.csv; expected a clone"):
        fetch_metadata(tmp_path / "out", ["test-clean"], clone, files=SUMS)
    with pytest.raises(InputError, match="--subset: LibriMix has no 'train-clean'; did you mean 'train-clean-"):
        fetch_metadata(tmp_path / "out", ["train-clean"], clone, files=SUMS)


def test_every_official_file_has_a_checksum_and_the_one_without_sha256_an_info_table() -> None:
    assert [name for name, sum in FILES.items() if not re.fullmatch("[0-9a-f]{64}", sum)] == [LARGE]
    assert re.fullmatch("[0-9a-f]{40}", FILES[LARGE])
    names = list(FILES)
    assert names.index(LARGE.replace(".csv", "_info.csv")) < names.index(LARGE), "it is verified first"


def test_the_real_metadata_is_that_of_the_pinned_commit(shared: Path, tmp_path: Path) -> None:
    paths = fetch_metadata(tmp_path / "out", [name for name in SUBSETS if "360" not in name], shared / "librimix")
    assert len(paths) == 11
