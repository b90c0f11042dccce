"""A camera of the network: as much of RTSP as a client needs to be shown a film over TCP."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from fractions import Fraction
from typing import Any

import av

from tests.integration.video.films import HEIGHT, WIDTH, picture

RATE = 25


class Camera:
    """Shows `frames` frames to whoever asks, then hangs up; `asked`: paths that were asked for."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.asked: list[str] = []
        self.port = int(self._server.getsockname()[1])

    def __enter__(self) -> Camera:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._server.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._server.accept()
            except TimeoutError:
                continue
            client.settimeout(5)
            with client:
                try:
                    self._answer(client)
                except OSError:
                    continue  # it hung up

    def _answer(self, client: socket.socket) -> None:
        data = b""
        while not self._over.is_set():
            while b"\r\n\r\n" not in data:
                if not (more := client.recv(4096)):
                    return
                data += more
            request, _, data = data.partition(b"\r\n\r\n")
            method, url, _ = request.decode().split(None, 2)
            number = re.search(rb"(?i)cseq: *(\d+)", request)
            assert number is not None
            head = f"RTSP/1.0 200 OK\r\nCSeq: {number[1].decode()}\r\nSession: 1\r\n"
            body = ""
            if method == "DESCRIBE":
                self.asked.append(url)
                body = (
                    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\n"
                    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
                    f"a=fmtp:96 packetization-mode=1\r\na=framerate:{RATE}\r\n"
                    "a=control:track\r\n"
                )
                head += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif method == "SETUP":
                head += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            elif method == "OPTIONS":
                head += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            client.sendall(f"{head}\r\n{body}".encode())
            if method == "PLAY":
                self._show(client)
                return

    def _show(self, client: socket.socket) -> None:
        """A frame's NAL units, each in an RTP packet of its own: they are small."""
        encoder: Any = av.CodecContext.create("libx264", "w")
        encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        encoder.time_base, encoder.framerate = Fraction(1, RATE), RATE
        encoder.options = {"tune": "zerolatency", "preset": "ultrafast", "g": "10"}
        sequence = 0
        for number in range(self._frames):
            frame = av.VideoFrame.from_ndarray(picture(number % 50), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            for packet in encoder.encode(frame):
                units = [u for u in re.split(rb"\x00?\x00\x00\x01", bytes(packet)) if u]
                for unit in units:
                    mark = 0x80 if unit is units[-1] else 0
                    stamp = number * 90000 // RATE
                    header = struct.pack(">BBHII", 0x80, mark | 96, sequence, stamp, 7)
                    client.sendall(struct.pack(">cBH", b"$", 0, 12 + len(unit)) + header + unit)
                    sequence = (sequence + 1) % 65536
            if self._over.wait(1 / RATE):
                return
        time.sleep(0.1)
