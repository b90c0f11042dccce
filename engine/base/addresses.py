"""Addresses: hosts and ports, as options name them and as ZeroMQ wants them, and videos."""

from __future__ import annotations

import ipaddress
import platform
from contextlib import suppress
from urllib.parse import urlsplit

from engine.base.errors import UsageError

_OF_VIDEOS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".flv", ".mpg", ".mpeg", ".ts"),
    *(".mts", ".m2ts", ".vob", ".3gp", ".ogv"),
)


def host_and_port(address: str, refusal: str) -> tuple[str, int]:
    """Of ``HOST:PORT``, a host of colons in brackets. Raises `UsageError`, which says `refusal`."""
    try:
        host, port = _split(address)
    except ValueError:
        host, port = "", None
    if port is None:
        raise UsageError(refusal)
    return host, port


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_here(host: str, own: str, *, elsewhere: bool) -> bool:
    """Whether the Host of a request means this machine: as `own`, or by loopback; of one that comes
    from `elsewhere` also by an address in numbers, or by what the machine calls itself. Any other
    name may be one that somebody's name server has made point here. On which port does not matter,
    since it may be forwarded."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in ("localhost", own) or is_loopback(name):
        return True
    if not elsewhere:
        return False
    with suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return name == platform.node().lower()


def tcp_address(address: str, option: str = "") -> tuple[str, int | None]:
    """Host and port of ``tcp://HOST[:PORT]``. Raises `UsageError`, which names the `option`."""
    scheme, _, rest = address.partition("://")
    try:
        if scheme != "tcp":
            raise ValueError(scheme)
        return _split(rest)
    except ValueError:
        said = f"{option} {address!r:.80} is no address; tcp://HOST:PORT is one"
        raise UsageError(said.lstrip()) from None


def tcp_endpoint(host: str, port: int | str) -> str:
    """The address of a host, by name or number of either kind, and a port."""
    return f"tcp://{bracketed(host)}:{port}"


def bracketed(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def _split(address: str) -> tuple[str, int | None]:
    """Raises `ValueError`."""
    parts = urlsplit(f"//{address}")
    if not parts.hostname or parts.netloc != address or "@" in address or address.endswith(":"):
        raise ValueError(address)
    return parts.hostname, parts.port


def is_video(address: str) -> bool:
    """Whether the ending of a path or of a URL, less what follows a question mark, is that of a
    video file."""
    return address.partition("?")[0].lower().endswith(_OF_VIDEOS)
