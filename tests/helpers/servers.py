"""Web servers for tests: one that gives parts of files and breaks connections, one that never answers.

The first runs in a process of its own: GDAL may keep Python's lock while it waits for an answer.
"""

import json
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

CONTROL = "/-/"


class FlakyServer:
    """A server of a folder's files by range requests, in its own process, that drops a share of the connections.

    In one of three ways: before a word of the answer, after its header, in the middle of its body. From byte `end` of
    a file on, every one is dropped; `stall_s` seconds pass before every answer.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def change(self, *, share: float | None = None, end: int | None = None, stall_s: float | None = None) -> None:
        """Change what is given; end = -1 is none."""
        given = {"share": share, "end": end, "stall_s": stall_s}
        self._control("&".join(f"{name}={value}" for name, value in given.items() if value is not None))

    @property
    def asked(self) -> int:
        """Requests so far."""
        return self._control("")["asked"]

    @property
    def dropped(self) -> int:
        """Connections dropped so far."""
        return self._control("")["dropped"]

    def _control(self, query: str) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.url}{CONTROL}?{query}", timeout=30) as answer:
            found: dict[str, int] = json.load(answer)
        return found


@contextmanager
def flaky_server(folder: Path, *, share: float, seed: int = 0) -> Iterator[FlakyServer]:
    """A server that runs meanwhile."""
    command = [sys.executable, __file__, str(folder), str(share), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield FlakyServer(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.kill()


@contextmanager
def silent_server() -> Iterator[str]:
    """The URL of a server that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: Path, share: float, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.rng = folder, random.Random(seed)
        self.given: dict[str, float] = {"share": share, "end": -1, "stall_s": 0.0}
        self.lock = threading.Lock()
        self.asked = self.dropped = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that the other side ends is no error here."""

    def judged(self) -> tuple[bool, int]:
        """Whether to drop the next connection, and in which way."""
        with self.lock:
            self.asked += 1
            drop = self.rng.random() < self.given["share"]
            self.dropped += drop
            return drop, self.rng.randrange(3)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        if self.path.startswith(CONTROL):
            self._obey()
        else:
            self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _obey(self) -> None:
        self.server.given.update({name: float(value) for name, value in parse_qsl(urlsplit(self.path).query)})
        text = json.dumps({"asked": self.server.asked, "dropped": self.server.dropped}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _answer(self, *, body: bool) -> None:
        time.sleep(self.server.given["stall_s"])
        drop, way = self.server.judged()
        path = self.server.folder / self.path.lstrip("/").partition("?")[0]
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        span = self.headers.get("Range")
        start, stop = 0, len(data)
        if span is not None:
            first, _, last = span.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1 if last else len(data), len(data))
        beyond = span is not None and 0 <= self.server.given["end"] < stop
        if beyond or (drop and way == 0):
            self._hang_up()
            return
        self._give_head(data, start, stop, partial=span is not None, mark=f'"{path.stat().st_mtime_ns:x}"')
        if body:
            part = data[start:stop]
            self.wfile.write(part if not drop else b"" if way == 1 else part[: len(part) // 2])
        if drop:
            self._hang_up()

    def _give_head(self, data: bytes, start: int, stop: int, *, partial: bool, mark: str) -> None:
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", mark)
        self.end_headers()

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _main() -> None:
    with _Server(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    _main()
