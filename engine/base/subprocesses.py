"""Processes that the engine starts: how long one is waited for."""

from __future__ import annotations

KILL_GRACE_S = 30.0  # a large process takes a moment to be cleared away
