"""A camera on the network for tests: MJPEG over HTTP, whose connections can be cut."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2

from helpers.made_flights import made_frame

__all__ = ["LiveCamera", "live_camera"]

BOUNDARY = "frame"


class LiveCamera:
    """url: of the stream; cut() breaks every connection; connections: made so far."""

    def __init__(self, server: "_Server") -> None:
        self._server = server
        self.url = f"http://127.0.0.1:{server.server_address[1]}/video.mjpg"

    @property
    def connections(self) -> int:
        return self._server.connections

    def cut(self) -> None:
        self._server.generation += 1


@contextmanager
def live_camera(*, fps: float = 25.0) -> Iterator[LiveCamera]:
    """A camera that sends meanwhile."""
    server = _Server(fps)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield LiveCamera(server)
    finally:
        server.generation = -(10**6)
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fps: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fps, self.generation, self.connections = fps, 0, 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that has gone is no error here."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.server.connections += 1
        generation, number = self.server.generation, 0
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.end_headers()
        while self.server.generation == generation:
            jpeg = cv2.imencode(".jpg", made_frame(number))[1].tobytes()
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")
            number += 1
            time.sleep(1.0 / self.server.fps)
        self.connection.shutdown(socket.SHUT_RDWR)
