"""The dashboard: a run as a page that moves, on ``--dashboard [HOST:PORT]``.

`screen` ties a run to it: `board` and `scene` (live) or `gallery` (data set) keep what is shown,
`server` serves it, ``static`` draws it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from engine.base.errors import UsageError
from engine.base.options import Options

if TYPE_CHECKING:
    from engine.outputs.dashboard.screen import Screen


def open_screen(options: Options) -> AbstractContextManager[Screen | None]:
    """The screen that the options ask for, if they do. Raises `UsageError`."""
    if options.dashboard is None:
        return nullcontext()
    try:
        from engine.outputs.dashboard.screen import Screen
    except ImportError as error:
        raise UsageError(f"--dashboard: {error}; pip install '.[dashboard]'") from None
    cameras = [s.partition("?")[0].rstrip("/") for s in options.source if s.startswith("ws:")]
    screen = Screen(options.dashboard, cameras)
    print(f"dashboard {screen.url}", flush=True)
    return screen
