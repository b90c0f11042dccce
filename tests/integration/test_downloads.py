"""Named files: downloads from a server on loopback, and what is at hand already."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.base.assets import Asset, locate
from engine.base.errors import UsageError

CONTENT = bytes(range(256)) * 4000


class Server(ThreadingHTTPServer):
    """Serves CONTENT, whole or from an offset; can hang up in the middle."""

    requests: list[tuple[str | None, int]]
    break_after: int | None = None
    etag = '"one"'
    content = CONTENT


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        start = 0
        if wanted and self.headers.get("If-Range") == self.server.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        body = self.server.content[start:]
        status = 416 if start and not body else 206 if start else 200
        self.server.requests.append((wanted, status))
        self.send_response(status)
        self.send_header("ETag", self.server.etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.break_after])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.requests = []
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENGINE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def asset(server: Server, content: bytes = CONTENT) -> Asset:
    url = f"http://127.0.0.1:{server.server_port}/file.bin"
    return Asset("thing", "file.bin", url, hashlib.sha256(content).hexdigest()[:8])


def test_downloaded_once(server: Server, cache: Path) -> None:
    for _ in range(2):
        assert locate(asset(server)).read_bytes() == CONTENT
    assert server.requests == [(None, 200)]
    assert [p.name for p in cache.iterdir()] == ["file.bin"]


def test_resumed(server: Server, cache: Path) -> None:
    server.break_after = 300_000
    with pytest.raises(UsageError, match="could not be downloaded"):
        locate(asset(server))
    assert not (cache / "file.bin").exists()
    server.break_after = None
    assert locate(asset(server)).read_bytes() == CONTENT
    assert server.requests == [(None, 200), ("bytes=300000-", 206)]


def test_a_changed_file_is_not_glued_together(server: Server, cache: Path) -> None:
    server.break_after = 300_000
    with pytest.raises(UsageError):
        locate(asset(server))
    server.break_after, server.etag, server.content = None, '"two"', CONTENT[::-1]
    assert locate(asset(server, CONTENT[::-1])).read_bytes() == CONTENT[::-1]


def test_whole_part_left_by_a_crash(server: Server, cache: Path) -> None:
    cache.mkdir()
    (cache / "file.bin.part").write_bytes(CONTENT)
    (cache / "file.bin.part.etag").write_text(server.etag)
    assert locate(asset(server)).read_bytes() == CONTENT
    assert [status for _, status in server.requests] == [416, 200]


def test_wrong_digest(server: Server, cache: Path) -> None:
    with pytest.raises(UsageError, match="does not begin with"):
        locate(Asset("thing", "file.bin", asset(server).url, "00000000"))
    assert not list(cache.iterdir())


def test_data_dir_comes_first(
    server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT)
    monkeypatch.setenv("ENGINE_DATA_DIR", str(tmp_path))
    assert locate(asset(server)) == tmp_path / "file.bin"
    (tmp_path / "file.bin").write_bytes(b"another file")
    with pytest.raises(UsageError, match="not the published"):
        locate(asset(server))
    assert server.requests == []


def test_no_network(cache: Path) -> None:
    unreachable = Asset("thing", "file.bin", "http://127.0.0.1:9/file.bin")
    with pytest.raises(UsageError) as caught:
        locate(unreachable)
    message = str(caught.value)
    assert unreachable.url in message
    assert str(cache / "file.bin") in message
    assert "ENGINE_DATA_DIR" in message


def test_a_wrong_file_in_the_cache(server: Server, cache: Path) -> None:
    cache.mkdir()
    (cache / "file.bin").write_bytes(b"another file")
    with pytest.raises(UsageError, match="not the published"):
        locate(asset(server))


def test_nothing_is_left_of_a_failed_start(cache: Path) -> None:
    with pytest.raises(UsageError):
        locate(Asset("thing", "file.bin", "http://127.0.0.1:9/file.bin"))
    assert not list(cache.iterdir())
