"""Stand-alone scripts run by the old Python that has mmaction2."""

from __future__ import annotations

import subprocess
from pathlib import Path

from engine.base.errors import ModelError, UsageError


def run_script(python: str, name: str, *arguments: object) -> None:
    """Run the script `name` of this folder with the interpreter `python`.

    Its output goes where ours goes. Raises `UsageError` where there is no such interpreter
    and `ModelError` where the script fails.
    """
    command = [python, str(Path(__file__).parent / name), *map(str, arguments)]
    try:
        code = subprocess.run(command, check=False).returncode
    except OSError as error:
        raise UsageError(f"--python {python}: {error.strerror or error}") from None
    if code:
        raise ModelError(f"{name} failed (exit code {code}); its output is above")
