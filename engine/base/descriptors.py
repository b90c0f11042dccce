"""Descriptors of files and sockets: how many this process may have."""

from __future__ import annotations

import resource

_MOST = 1 << 16  # libraries that keep a table of all of them need not make it larger


def raise_limit() -> int:
    """As many as the system lets us have. Returns their number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _MOST if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
