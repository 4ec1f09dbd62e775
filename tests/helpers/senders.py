"""Cameras that send MPEG transport streams as real ones do: over UDP, and over RTSP with RTP in the same connection."""

import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from tempfile import TemporaryDirectory

import cv2

from helpers.made_flights import made_frame

__all__ = ["RtspCamera", "UdpCamera", "rtsp_camera", "udp_camera"]

FPS = 25.0
SECONDS = 20
PACKETS = 7 * 188
"""Bytes of transport stream in a datagram."""
MPEG_TS = 33
"""RTP's payload type of a transport stream (RFC 3551)."""
CLOCK = 90_000


@cache
def transport_stream() -> bytes:
    """SECONDS of made frames as MPEG-2 video."""
    first = made_frame(0)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "made.ts"
        code = cv2.VideoWriter_fourcc(*"MPG2")  # type: ignore[attr-defined]
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, FPS, (first.shape[1], first.shape[0]))
        assert writer.isOpened()
        for number in range(round(SECONDS * FPS)):
            writer.write(made_frame(number))
        writer.release()
        return path.read_bytes()


def paced() -> Iterator[bytes]:
    """Datagrams at the pace of the film, which begins again at its end."""
    data = transport_stream()
    gap = SECONDS * PACKETS / len(data)
    while True:
        for start in range(0, len(data), PACKETS):
            yield data[start : start + PACKETS]
            time.sleep(gap)


class UdpCamera:
    """Sends to a port of this machine, whether or not somebody listens; `sending` may be switched off and on."""

    def __init__(self, port: int) -> None:
        self.url = f"udp://127.0.0.1:{port}"
        self.sending = True
        self.ended = False
        self._port = port

    def run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for datagram in paced():
                if self.ended:
                    return
                if self.sending:
                    out.sendto(datagram, ("127.0.0.1", self._port))


@contextmanager
def udp_camera() -> Iterator[UdpCamera]:
    """A camera that sends meanwhile, to a port that was free."""
    transport_stream()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        camera = UdpCamera(probe.getsockname()[1])
    thread = threading.Thread(target=camera.run, daemon=True)
    thread.start()
    try:
        yield camera
    finally:
        camera.ended = True
        thread.join()


class RtspCamera:
    """url: of the stream; cut() breaks every connection; connections: that have played so far."""

    def __init__(self, server: "_Server") -> None:
        self._server = server
        self.url = f"rtsp://127.0.0.1:{server.server_address[1]}/live"

    @property
    def connections(self) -> int:
        return self._server.played

    def cut(self) -> None:
        self._server.generation += 1


@contextmanager
def rtsp_camera() -> Iterator[RtspCamera]:
    """A camera that sends to whoever asks (RFC 2326, RTP interleaved with the connection)."""
    transport_stream()
    server = _Server(("127.0.0.1", 0), _Session)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield RtspCamera(server)
    finally:
        server.generation = -(10**6)
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingTCPServer):
    daemon_threads = True
    generation = 0
    played = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that has gone is no error here."""


class _Session(StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        while (method := self._request()) is not None:
            if method == "PLAY":
                self.server.played += 1
                self._play()
                return

    def _request(self) -> str | None:
        """Answer one request; its method, None where the other side has gone."""
        lines = list(iter(lambda: self.rfile.readline().decode().strip(), ""))
        if not lines:
            return None
        method, url = lines[0].split()[:2]
        number = next(line.split(":")[1].strip() for line in lines if line.lower().startswith("cseq:"))
        head, body = [f"CSeq: {number}"], ""
        if method == "OPTIONS":
            head.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE":
            session = ("v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=made", "t=0 0")
            body = "\r\n".join([*session, f"m=video 0 RTP/AVP {MPEG_TS}", f"a=control:{url}/0", ""])
            head += ["Content-Type: application/sdp", f"Content-Base: {url}/", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            assert any(re.search(r"RTP/AVP/TCP.*interleaved=0-1", line) for line in lines), lines
            head += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1"]
        else:
            head.append("Session: 1")
        self.wfile.write(("RTSP/1.0 200 OK\r\n" + "\r\n".join(head) + "\r\n\r\n" + body).encode())
        return method

    def _play(self) -> None:
        generation, began = self.server.generation, time.monotonic()
        for number, payload in enumerate(paced()):
            if self.server.generation != generation:
                return
            stamp = round((time.monotonic() - began) * CLOCK) & 0xFFFFFFFF
            packet = struct.pack(">BBHII", 0x80, MPEG_TS, number & 0xFFFF, stamp, 1) + payload
            self.wfile.write(b"$\0" + len(packet).to_bytes(2, "big") + packet)
