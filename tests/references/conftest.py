"""A server of files on this computer, and a catalogue whose addresses lead to it: no test here uses the network."""

from __future__ import annotations

import dataclasses
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from scepsis.references import _entries

if TYPE_CHECKING:
    from collections.abc import Iterator


class Shelf:
    """Files that are served, and how often each was asked for."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """
    Serve what a test puts into ``shelf.files``, by file name; anything else is not found.

    Every entry of the catalogue points here, and has no known bytes.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            books.asked.append(name)
            if name not in books.files:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(books.files[name])))
            self.end_headers()
            self.wfile.write(books.files[name])

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    books = Shelf(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    entries = {
        key: dataclasses.replace(one, url=f"{books.address}/{one.filename}", sha256="", fixed=False)
        for key, one in _entries.ENTRIES.items()
    }
    monkeypatch.setattr(_entries, "ENTRIES", entries)
    monkeypatch.delenv("SCEPSIS_OFFLINE", raising=False)
    monkeypatch.delenv("SCEPSIS_REFERENCES", raising=False)
    yield books
    server.shutdown()
    server.server_close()
    thread.join()
