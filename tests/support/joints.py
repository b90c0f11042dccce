"""Runs on the backend of `tests.support.joints_backend`, which `on_the_path` makes known."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.base.options import Options
from tests.support import ROOT, runs
from tests.support.joints_backend import NAME, JointsBackend
from tests.support.plugin_backend import register


@contextmanager
def on_the_path(folder: Path) -> Iterator[None]:
    """Meanwhile it is a backend, here and in processes that are started."""
    register(folder, NAME, JointsBackend)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{ROOT}", prepend=os.pathsep)
        yield


def options(data: Path, model: Path, **more: Any) -> Options:
    return runs.options(data, model, **{"backend": NAME, **more})


def command(data: Path, model: Path, *more: object) -> list[str]:
    return runs.command(data, model, "--backend", NAME, *more)
