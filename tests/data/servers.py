"""A server on loopback with the files of a data set, which answers as servers do on bad days."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Mood = Literal["whole", "cut", "unannounced", "wrong", "missing", "stuck"]
"""cut: half of what was announced; unannounced: half, whose size nobody told; stuck: half, and then nothing."""


class Server:
    """files: content by name; moods: how a name is answered, one request after the other, then whole."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes] = {}
        self.moods: dict[str, list[Mood]] = {}
        self.asked: list[str] = []
        self.halfway, self.ended = threading.Event(), threading.Event()

    def holds(self, name: str, content: bytes, *moods: Mood) -> str:
        """Offer a file; returns its MD5."""
        self.files[name], self.moods[name] = content, list(moods)
        return hashlib.md5(content).hexdigest()


@contextmanager
def serving() -> Iterator[Server]:
    """A server of its own thread, which ends with the block."""
    made = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    made.offer = offer = Server(f"http://127.0.0.1:{made.server_port}/")  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield offer
    finally:
        offer.ended.set()
        made.shutdown()
        made.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        offer: Server = self.server.offer  # type: ignore[attr-defined]
        name = self.path.removeprefix("/").partition("?")[0]
        offer.asked.append(name)
        moods = offer.moods.get(name, ["missing"])
        mood: Mood = moods.pop(0) if moods else "whole"
        if mood == "missing":
            self.send_error(404)
            return
        content = offer.files[name]
        self.send_response(200)
        if mood != "unannounced":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        sent = {"whole": content, "wrong": content[::-1]}.get(mood, content[: len(content) // 2])
        self.wfile.write(sent)
        self.wfile.flush()
        if mood == "stuck":
            offer.halfway.set()
            offer.ended.wait(60)

    def do_HEAD(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests look at what was asked."""
