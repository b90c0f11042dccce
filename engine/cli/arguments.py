"""Arguments: the command line and its variables become `Options`.

A flag counts over its variable, a variable over the default. What there is to know of an option
stands at its field (`engine.base.options`).
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, fields
from typing import Any, Final, TypeVar

from engine.base.addresses import is_video
from engine.base.command_parser import CommandParser
from engine.base.errors import UsageError, printable
from engine.base.option_field import GROUPS, TYPES, about, flag, texts
from engine.base.options import Options
from engine.base.run_kinds import without_effect
from engine.base.suggestions import meant
from engine.cli.ais_bench import refuse_in

log = logging.getLogger("engine")

OptionsT = TypeVar("OptionsT", bound=Options)

_PREFIX: Final = "ENGINE_"
NO_OPTIONS: Final = frozenset({"ENGINE_CACHE_DIR", "ENGINE_DATA_DIR"})
"""Variables that are read elsewhere."""


def variable(name: str) -> str:
    """An option's name in the environment."""
    return _PREFIX + name.upper()


def parse(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None
) -> Options:
    """Options of a command line. Exits with code 2 and a message on a usage error."""
    return parse_as(Options, arguments, environment)


def parse_as(
    options: type[OptionsT], arguments: Sequence[str] | None, environment: Mapping[str, str] | None
) -> OptionsT:
    """As `parse`, of a class that adds options of its own."""
    environment = os.environ if environment is None else environment
    parser = CommandParser(
        prog="python -m engine.run",
        usage="%(prog)s [options]",  # all of them would hide the message above which they stand
        description="Recognise actions in 2-D skeletons with PoseC3D.",
        epilog="Every flag can be given as a variable, too: --max-batch as ENGINE_MAX_BATCH.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--list", action=_List, nargs=0, help="list the named datasets and checkpoints, and exit"
    )
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    for f in fields(options):
        _add(groups[about(f).group], f)
    refuse_in(parser)
    given = vars(parser.parse_args(arguments))
    for said in _unknown(options, environment):
        log.warning("%s", said)
    try:
        values = {f.name: _value(f, given, environment) for f in fields(options)}
        if given["resume"] is not None and given["output"] is None:  # nor does this one need it
            values["output"] = None
        if is_video(values["dataset"]) and not values["source"]:
            _as_source(values, given)
        # variables are for runs of all kinds; flags are for this one
        idle = without_effect(options, values)
        for name in idle:
            if given[name] is not None:
                raise UsageError(f"{flag(name)} has no effect {idle[name]}")
        unset = [f for f in fields(options) if f.name in idle]
        return options(**{**values, **{f.name: f.default for f in unset}})
    except UsageError as error:
        parser.error(str(error))


def _unknown(options: type[Options], environment: Mapping[str, str]) -> Iterator[str]:
    """Variables that look like ours and are nobody's, which would be passed over in silence."""
    known = {variable(f.name) for f in fields(options)} | NO_OPTIONS
    for name in sorted(environment):
        if name.startswith(_PREFIX) and name not in known:
            yield f"{printable(name)} is no variable of the engine and has no effect" + meant(
                name, known
            )


def _as_source(values: dict[str, Any], given: dict[str, Any]) -> None:
    """A video given as a data set is a recorded source, of which every window is labelled."""
    name = values["dataset"]
    if values["dump_bin"] is not None:
        raise UsageError(f"--dump-bin is for annotations, and {name} is a video")
    log.info("%s is a video: labels of those in it over time, as of --source video:%s", name, name)
    values |= {"source": (f"video:{name}",), "dataset": None, "windows": False}
    given |= {"dataset": None, "windows": None}


class _List(argparse.Action):
    """Prints the listing and exits, as ``--help`` does."""

    def __call__(self, parser: argparse.ArgumentParser, *unused: Any, **also_unused: Any) -> None:
        from engine.cli.listing import listing

        print(listing())
        parser.exit()


def _add(group: Any, f: Field[Any]) -> None:
    what = about(f)
    text = what.help
    if what.kind is bool:
        action = argparse.BooleanOptionalAction if f.default is None else "store_true"
        group.add_argument(flag(f.name), action=action, default=None, help=text)
        return
    if what.kind is texts:
        group.add_argument(flag(f.name), action="append", metavar=what.metavar, help=text)
        return
    if f.default is not None:
        text += f" (default: {f.default})"
    bare = {} if what.bare is None else {"nargs": "?", "const": what.bare}
    group.add_argument(
        flag(f.name),
        **bare,
        type=what.kind,
        metavar=what.metavar,
        choices=what.choices,
        help=text,
    )


def _value(f: Field[Any], given: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
    if given[f.name] is not None:
        value = given[f.name]
        return tuple(value) if about(f).kind is texts else value
    name = variable(f.name)
    text = environment.get(name)
    if not text:
        return f.default
    kind = about(f).kind
    if kind is bool:
        if text not in ("0", "1"):
            raise UsageError(f"{name}={text}: expected 0 or 1")
        return text == "1"
    try:
        return kind(text)
    except (ValueError, argparse.ArgumentTypeError):
        raise UsageError(f"{name}={text}: {TYPES[kind][1]} is needed") from None
