"""The tables of ``docs/cli.md``, out of the parsers of the programs.

``python -m tests.integration.docs.reference`` writes them into the page, between the two marks.
"""

from __future__ import annotations

import argparse

from engine.__main__ import BENCHMARKS, COMMANDS
from tests.integration.docs.commands import ROOT, parser_of

PAGE = ROOT / "docs" / "cli.md"
PROGRAMS = (
    "engine.run",
    "engine.inspect",
    "engine.fuse",
    "engine.join",
    "engine.keys",
    "engine.doctor",
    "converters.pytorch2onnx",
    "converters.quantize",
    "converters.calibrate",
    "converters.annotations",
    "converters.onnx2om",
    "converters.oracle",
    "converters.survey",
)
BEGIN = "<!-- begin: written by python -m tests.integration.docs.reference -->"
END = "<!-- end -->"


def reference() -> str:
    """A section for each program, a table for each group of its options."""
    return "\n".join([_commands(), *(_section(program) for program in PROGRAMS)])


def _commands() -> str:
    """The table of the words behind ``posec3d``."""
    lines = ["## posec3d", "", "Also `python -m engine`.", "", "| command | module | what |"]
    lines += ["|---|---|---|"]
    for words, programs in (("posec3d", COMMANDS), ("posec3d bench", BENCHMARKS)):
        lines += [f"| `{words} {w}` | `{m}` | {what} |" for w, (m, what) in programs.items()]
    return "\n".join([*lines, ""])


def page(text: str) -> str:
    """The page with the tables as they should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


def _section(program: str) -> str:
    parser = parser_of(program)
    about = " ".join((parser.description or "").split("\n\n")[0].split())
    tables: dict[str, list[argparse.Action]] = {}
    for group in parser._action_groups:
        shown = [a for a in group._group_actions if a.help is not argparse.SUPPRESS]
        title = f"### {group.title}" if program == "engine.run" else ""
        tables.setdefault(title, []).extend(a for a in shown if a.dest not in ("help", "version"))
    lines = [f"## python -m {program}", "", about, ""]
    for title, actions in tables.items():
        if actions:
            lines += [title, ""] if title else []
            lines += ["| argument | what |", "|---|---|"]
            lines += [f"| {_spelt(action)} | {_what(parser, action)} |" for action in actions]
            lines.append("")
    return "\n".join(lines)


def _spelt(action: argparse.Action) -> str:
    """An argument as one types it."""
    names = action.option_strings
    value = action.metavar
    if value is None and action.choices is not None:
        value = "|".join(map(str, action.choices))
    if value is None and action.nargs != 0:
        value = action.dest.upper() if names else action.dest
    value = str(value) if action.nargs != 0 else ""
    if action.nargs == "?":
        value = f"[{value}]"
    elif action.nargs in ("+", "*"):
        value = f"{value}…"
    spelt = [f"`{f'{name} {value}'.strip()}`" for name in names or [""]]
    return ", ".join(spelt).replace("|", "\\|")


def _what(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = (action.help or "") % {**vars(action), "prog": parser.prog}
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
