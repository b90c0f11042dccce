"""The commands of the documentation, and the parsers of the programs that they start.

Comes in: the pages. Goes out: `Command`, every one in a block without a language, and every
``python -m …`` between backticks.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from engine.__main__ import BENCHMARKS, COMMANDS
from engine.cli.arguments import parse

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`((?:python -m|posec3d) [^`]+)`")
_EXPANDED = re.compile(r"\$\(.*?\)|\$\w+")  # by a shell


@dataclass(frozen=True)
class Command:
    """One program with its arguments, on a page."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.words)

    @property
    def module(self) -> str | None:
        """What ``python -m`` starts, or ``posec3d``; None for another program."""
        return self._started[0]

    @property
    def arguments(self) -> list[str]:
        """Of the module."""
        return self._started[1]

    @property
    def _started(self) -> tuple[str | None, list[str]]:
        program, words = Path(self.words[0]).name, list(self.words[1:])
        if program in ("python", "python3") and words[:1] == ["-m"]:
            program, words = words[1], words[2:]
        elif program != "posec3d":
            return None, []
        if program not in ("engine", "posec3d"):
            return program, words
        programs = COMMANDS
        if words[:1] == ["bench"]:
            programs, words = BENCHMARKS, words[1:]
        if words[:1] in ([], ["COMMAND"]):  # only named
            return "engine.__main__", []
        return programs[words[0]][0], words[1:]


def blocks(text: str, language: str = "") -> list[str]:
    """The contents of a page's blocks in a language."""
    return [body for found, body in _FENCED.findall(text) if found == language]


def commands() -> list[Command]:
    """All of them, in the order of the pages, each once."""
    found: dict[tuple[str, ...], Command] = {}
    for page in PAGES:
        text = page.read_text()
        lines = [line for block in blocks(text) for line in block.replace("\\\n", " ").splitlines()]
        outside = re.sub(_FENCED, "", text)
        lines += [line for line in _INLINE.findall(outside) if "…" not in line]
        for line in lines:
            words = shlex.split(_EXPANDED.sub("EXPANDED.om", line), comments=True)
            for part in _split(words):
                found.setdefault(part, Command(page.name, part))
    return list(found.values())


def _split(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Words between ``&&``."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "&&":
            parts.append([])
        else:
            parts[-1].append(word)
    return [tuple(part) for part in parts if part]


class _Reached(BaseException):
    """A program has come to its arguments; what it would do next is not wanted."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def _until_arguments(module: str, arguments: Sequence[str], *, parse: bool) -> _Reached:
    """Start a program and stop it where it has parsed its arguments, or is about to."""
    before = argparse.ArgumentParser.parse_args, sys.argv

    def parse_args(self: argparse.ArgumentParser, *given: Any, **more: Any) -> NoReturn:
        if parse:
            before[0](self, *given, **more)
        raise _Reached(self)

    argparse.ArgumentParser.parse_args = parse_args  # type: ignore[method-assign]
    sys.argv = [module, *arguments]
    try:
        program = import_module(module)
        (import_module(f"{module}.__main__") if hasattr(program, "__path__") else program).main()
    except _Reached as reached:
        return reached
    finally:
        argparse.ArgumentParser.parse_args, sys.argv = before  # type: ignore[method-assign]
    raise AssertionError(f"{module} parses no arguments")


def check(module: str, arguments: Sequence[str]) -> None:
    """Raise `SystemExit` where a program's own parser refuses the arguments."""
    if module == "engine.run":  # whose options are checked against each other, too
        try:
            parse(arguments, {})
        except SystemExit as ended:
            if ended.code:  # --list ends, too, and well
                raise
    else:
        _until_arguments(module, arguments, parse=True)


def parser_of(module: str) -> argparse.ArgumentParser:
    """The parser of a program."""
    return _until_arguments(module, ["--help"], parse=False).parser
