"""A file downloaded by HTTP, however often the connection breaks, and checked by SHA-256."""

from __future__ import annotations

import os
import re
import ssl
import time
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from tqdm import tqdm

from audioslots.runtime.errors import InputError
from audioslots.runtime.files import sha256
from audioslots.runtime.stage import require_room

PIECE = 1 << 20  # bytes read at once
TIMEOUT_S = 30.0  # without a byte, before a connection is given up
ATTEMPTS = 6  # fruitless connections in a row, before the download is given up
PAUSE_S = 1.0  # before the second attempt; doubled before each further one
PASSING = {408, 425, 429}  # HTTP statuses, beside 5xx, after which another attempt may do


class Passing(Exception):
    """A connection that failed, though the next may not."""


def fetch(url: str, path: Path, digest: str | None, room: float = 0.0) -> None:
    """Download one file; an interrupted download, by this process or an earlier one, is resumed.

    Until it is whole and verified it lies beside ``path``, as ``.<name>.part``.

    Args:
        url: http or https.
        path: file to write; its folder exists.
        digest: SHA-256 of the whole file; None where it is not known.
        room: bytes needed on the disk for every byte of the file, beside the file itself.

    Raises:
        InputError: the server does not have the file, does not answer, or sends other content; the disk is too small.
    """
    if not url.startswith(("https://", "http://")):
        raise InputError(f"{url}: not a URL; expected https://...")
    part = path.with_name(f".{path.name}.part")
    failures = 0
    while True:
        before = _size(part)
        try:
            _receive(url, part, room)
            break
        except Passing as failure:
            failures = 0 if _size(part) > before else failures + 1
            if failures >= ATTEMPTS:
                raise InputError(f"{url}: {failure}; expected an answer; repeat the command to resume") from None
            if failures:
                time.sleep(PAUSE_S * 2 ** (failures - 1))
    if digest is not None and (found := sha256(part)) != digest:
        part.unlink()
        raise InputError(f"{url}: its SHA-256 is {found}; expected {digest}: what was received is removed")
    os.replace(part, path)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _receive(url: str, part: Path, room: float) -> None:
    """One connection: append what is missing to ``part``."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            start, total = _span(response)
            if start != have:  # the server starts over, or elsewhere
                part.unlink(missing_ok=True)
                if start:
                    raise Passing(f"sent bytes from {start}")
            if total is not None:
                require_room(part.parent, int(total * (1 + room)) - start)
            with (
                open(part, "ab") as file,
                tqdm(None, part.name[1:-5], total, initial=start, unit="B", unit_scale=True, disable=None) as bar,
            ):
                while piece := response.read1(PIECE):
                    file.write(piece)
                    bar.update(len(piece))
    except urllib.error.HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
            return  # all of it is here
        if error.code == 416:
            part.unlink(missing_ok=True)
        elif error.code not in PASSING and error.code < 500:
            raise InputError(f"{url}: the server returned {error.code} {error.reason}; expected a file") from None
        raise Passing(f"the server returned {error.code} {error.reason}") from None
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise Passing(f"{getattr(error, 'reason', None) or error or type(error).__name__}") from None
    if total is not None and _size(part) != total:
        raise Passing(f"broke off after {_size(part)} of {total} bytes")


def _span(response: HTTPResponse) -> tuple[int, int | None]:
    """First byte of a response's content within the file, and the file's size where the server tells it."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if not match:
            raise Passing("sent a part without saying which")
        return int(match[1]), int(match[2])
    length = response.headers.get("Content-Length")
    return 0, int(length) if length else None
