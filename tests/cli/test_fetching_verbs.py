"""The command line's verbs that get data from elsewhere: what they write, and the one line when they cannot."""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from audioslots.cli import main
from audioslots.data.corpora import librispeech
from audioslots.data.librimix.layout import official

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["audioslots", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "*")
    return run


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A server on loopback of the folder ``served``."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "served"))  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            pass

    (tmp_path / "served").mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def one_line(ended: tuple[int, str, str], expected: str) -> None:
    status, _, error = ended
    assert status == 2
    assert error.startswith("audioslots: ") and error.count("\n") == 1
    assert expected in error


def test_librispeech_is_downloaded(command: Command, url: str, tmp_path: Path, monkeypatch) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        info = tarfile.TarInfo("LibriSpeech/test-clean/7/1/7-1-0000.flac")
        info.size = 6
        tar.addfile(info, io.BytesIO(b"speech"))
    (tmp_path / "served" / "test-clean.tar.gz").write_bytes(stream.getvalue())
    one_line(command("corpus", "download", "corpus", "--subset", "test-clean", "--url", url), "its SHA-256 is")
    monkeypatch.setitem(librispeech.LIBRISPEECH, "test-clean", hashlib.sha256(stream.getvalue()).hexdigest())
    assert command("corpus", "download", "corpus", "--subset", "test-clean", "--url", url)[0] == 0
    assert Path("corpus/test-clean/7/1/7-1-0000.flac").read_bytes() == b"speech"


def test_metadata_is_downloaded_or_copied(command: Command, url: str, tmp_path: Path, monkeypatch) -> None:
    name = "Libri2Mix/libri2mix_test-clean.csv"
    table = tmp_path / "served" / name
    table.parent.mkdir()
    table.write_bytes(b"mixture_ID\na\n")
    sums = {key: sum for key, sum in official.FILES.items() if key != name and "test-clean" in key}
    for key in sums:
        monkeypatch.delitem(official.FILES, key)
    fetch = ("mixtures", "fetch", "LibriMix", "--subset", "test-clean")
    one_line(command(*fetch, "--url", url), "its checksum is")
    one_line(command(*fetch, "--from", "served"), "its checksum is")
    monkeypatch.setitem(official.FILES, name, hashlib.sha256(table.read_bytes()).hexdigest())
    for source in (("--url", url), ("--from", "served")):
        status, printed, _ = command("mixtures", "fetch", f"from{source[0]}", *fetch[3:], *source)
        assert status == 0
        assert Path(printed.strip()).read_bytes() == table.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("corpus", "download", "out"), "--subset"),
        (("corpus", "download", "out", "--subset", "test"), "no subset 'test' in LibriSpeech"),
        (("corpus", "download", "out", "--subset", "test-clean", "--url", "nowhere"), "no address"),
        (("corpus", "download", "file/out", "--subset", "test-clean"), "cannot be written"),
        (("mixtures", "fetch", "out", "--subset", "test"), "LibriMix has no 'test'"),
        (("mixtures", "fetch", "out", "--from", "absent"), "--from: no "),
        (("mixtures", "fetch", "out", "--url", "ftp://x"), "no address"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(command: Command, arguments: tuple[str, ...], problem: str) -> None:
    Path("file").touch()
    one_line(command(*arguments), problem)
