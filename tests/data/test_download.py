"""Downloading: what breaks off goes on, what is wrong is removed, and nobody waits for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from serving import Site, served

from audioslots.data.corpora import download as download_module
from audioslots.data.corpora.download import fetch
from audioslots.runtime.errors import InputError

CONTENT = np.random.default_rng(0).bytes(3_000_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TIMEOUT_S": 0.1, "ATTEMPTS": 3, "PAUSE_S": 0.001}.items():
        monkeypatch.setattr(download_module, name, value)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    with served({"/file": CONTENT}) as site:
        yield site


def test_a_file_is_downloaded_and_nothing_is_left_beside_it(site: Site, tmp_path: Path) -> None:
    fetch(f"{site.url}/file", tmp_path / "file", DIGEST)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert site.asked == [("/file", None)]


@pytest.mark.parametrize("failing", [["cut"], ["cut", "cut", "cut", "cut", "cut"], ["stall"], ["stall", "503", "cut"]])
def test_a_download_that_breaks_off_goes_on_where_it_stopped(site: Site, tmp_path: Path, failing: list[str]) -> None:
    site.behaviours = [*failing]
    fetch(f"{site.url}/file", tmp_path / "file", DIGEST)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(site.asked) == len(failing) + 1
    assert site.asked[1] == ("/file", "bytes=1500000-")


def test_a_download_broken_off_by_an_earlier_run_goes_on(site: Site, tmp_path: Path) -> None:
    (tmp_path / ".file.part").write_bytes(CONTENT[:1_000_000])
    fetch(f"{site.url}/file", tmp_path / "file", DIGEST)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.asked == [("/file", "bytes=1000000-")]


def test_a_download_that_was_whole_already_is_only_verified(site: Site, tmp_path: Path) -> None:
    (tmp_path / ".file.part").write_bytes(CONTENT)
    fetch(f"{site.url}/file", tmp_path / "file", DIGEST)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(site.asked) == 1


def test_a_part_longer_than_the_file_is_dropped(site: Site, tmp_path: Path) -> None:
    (tmp_path / ".file.part").write_bytes(CONTENT + b"more")
    fetch(f"{site.url}/file", tmp_path / "file", DIGEST)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_is_read_from_the_start(site: Site, tmp_path: Path) -> None:
    site.behaviours = ["cut", "whole"]
    fetch(f"{site.url}/file", tmp_path / "file", DIGEST)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_wrong_bytes_are_refused_and_removed(site: Site, tmp_path: Path) -> None:
    site.files["/file"] = CONTENT[:-1] + b"?"
    with pytest.raises(InputError, match=f"/file: its SHA-256 is .* expected {DIGEST}"):
        fetch(f"{site.url}/file", tmp_path / "file", DIGEST)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_there_is_refused_at_once(site: Site, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="/absent: the server returned 404 .*; expected a file"):
        fetch(f"{site.url}/absent", tmp_path / "file", None)
    assert len(site.asked) == 1


@pytest.mark.parametrize("behaviour", ["500", "429", "stall"])
def test_a_server_that_stays_in_trouble_is_given_up_and_what_came_is_kept(site, tmp_path, behaviour: str) -> None:
    site.behaviours = ["cut", *[behaviour] * 40]
    site.files["/file"] = CONTENT[:4]  # a stalled server of four bytes soon has nothing more to give
    with pytest.raises(InputError, match="/file: .*; expected an answer; repeat the command to resume"):
        fetch(f"{site.url}/file", tmp_path / "file", DIGEST)
    assert (tmp_path / ".file.part").read_bytes() == CONTENT[: 3 if behaviour == "stall" else 2]
    assert len(site.asked) <= 5


def test_a_server_that_does_not_exist_and_an_address_that_is_none_are_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with served({}) as gone:
        pass
    with pytest.raises(InputError, match=r"refused; expected an answer"):
        fetch(f"{gone.url}/file", tmp_path / "file", None)
    with pytest.raises(InputError, match="file:///etc/hosts: not a URL; expected https"):
        fetch("file:///etc/hosts", tmp_path / "file", None)


def test_room_on_the_disk_is_checked_before_anything_is_written(site, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=5_000_000))
    with pytest.raises(InputError, match="0.005 GB free; expected at least 0.006 GB"):
        fetch(f"{site.url}/file", tmp_path / "file", DIGEST, room=1.0)
    assert list(tmp_path.iterdir()) == []
    fetch(f"{site.url}/file", tmp_path / "file", DIGEST, room=0.5)
