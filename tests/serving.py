"""A server on loopback that serves, breaks off, stalls and lies, as a test tells it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What a server has, how it behaves, and what it was asked.

    Attributes:
        files: path -> content.
        behaviours: of the next answers, in turn: "serve" (also when there are no more), "cut" (closes after half of
            what it promised), "stall" (falls silent after half), "whole" (ignores ranges), or an HTTP status.
        asked: of each request, its path and range.
    """

    files: dict[str, bytes]
    behaviours: list[str] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def served(files: dict[str, bytes]) -> Iterator[Site]:
    site = Site(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            site.asked.append((self.path, wanted))
            behaviour = site.behaviours.pop(0) if site.behaviours else "serve"
            if behaviour.isdigit() or self.path not in site.files:
                self.send_error(int(behaviour) if behaviour.isdigit() else 404)
                return
            content = site.files[self.path]
            total, start = len(content), 0
            if wanted and behaviour != "whole":
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= total:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{total}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.send_header("Content-Length", str(total - start))
            self.end_headers()
            half = behaviour in ("cut", "stall")
            self.wfile.write(content[start : start + (total - start) // 2] if half else content[start:])
            self.wfile.flush()
            if behaviour == "stall":
                site.over.wait(10)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        site.over.set()
        server.shutdown()
        server.server_close()
