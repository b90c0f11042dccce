"""The parser of a command line, as all programs have it: with ``--version``, and a suggestion for
an option that is mistyped."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from engine.base.suggestions import meant
from engine.base.version import VERSION

_UNKNOWN = "unrecognized arguments: "  # as argparse calls them


class CommandParser(argparse.ArgumentParser):
    """As its base class."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.add_argument(
            "--version", action="version", version=VERSION, help="print the version, and exit"
        )

    def error(self, message: str) -> NoReturn:
        if message.startswith(_UNKNOWN):
            flags = [word for word in message.removeprefix(_UNKNOWN).split() if word[:2] == "--"]
            known = [
                name
                for name, action in self._option_string_actions.items()
                if name[:2] == "--" and action.help != argparse.SUPPRESS
            ]
            said = (meant(flag.partition("=")[0], known) for flag in flags)
            message += next((one for one in said if one), "")
        super().error(message)
