"""Arguments: the command line and its variables become `Options`.

A flag counts over its variable, a variable over the default.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields
from typing import Any

from engine.base.errors import UsageError
from engine.base.options import GROUPS, TYPES, Options, flag, texts, without_effect


def parse(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None
) -> Options:
    """Options of a command line. Exits with code 2 and a message on a usage error."""
    environment = os.environ if environment is None else environment
    parser = argparse.ArgumentParser(
        prog="python -m engine.run",
        usage="%(prog)s [options]",  # all of them would hide the message above which they stand
        description="Recognise actions in 2-D skeletons with PoseC3D.",
        epilog="Every flag can be given as a variable, too: --max-batch as ENGINE_MAX_BATCH.",
        allow_abbrev=False,
    )
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    for f in fields(Options):
        _add(groups[f.metadata["group"]], f)
    given = vars(parser.parse_args(arguments))
    try:
        values = {f.name: _value(f, given, environment) for f in fields(Options)}
        if given["resume"] is not None and given["output"] is None:  # nor does this one need it
            values["output"] = None
        # variables are for runs of all kinds; flags are for this one
        kind = values["in_process"], bool(values["source"]), values["windows"]
        for names, _ in without_effect(*kind):
            unset = [f for f in fields(Options) if f.name in names and given[f.name] is None]
            values.update({f.name: f.default for f in unset})
        return Options(**values)
    except UsageError as error:
        parser.error(str(error))


def _add(group: Any, f: Field[Any]) -> None:
    about = f.metadata
    text = about["help"]
    if about["kind"] is bool:
        action = argparse.BooleanOptionalAction if f.default is None else "store_true"
        group.add_argument(flag(f.name), action=action, default=None, help=text)
        return
    if about["kind"] is texts:
        group.add_argument(flag(f.name), action="append", metavar=about["metavar"], help=text)
        return
    if f.default is not None:
        text += f" (default: {f.default})"
    bare = {} if about["bare"] is None else {"nargs": "?", "const": about["bare"]}
    group.add_argument(
        flag(f.name),
        **bare,
        type=about["kind"],
        metavar=about["metavar"],
        choices=about["choices"],
        help=text,
    )


def _value(f: Field[Any], given: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
    if given[f.name] is not None:
        value = given[f.name]
        return tuple(value) if f.metadata["kind"] is texts else value
    variable = "ENGINE_" + f.name.upper()
    text = environment.get(variable)
    if not text:
        return f.default
    kind = f.metadata["kind"]
    if kind is bool:
        if text not in ("0", "1"):
            raise UsageError(f"{variable}={text}: expected 0 or 1")
        return text == "1"
    try:
        return kind(text)
    except (ValueError, argparse.ArgumentTypeError):
        raise UsageError(f"{variable}={text}: {TYPES[kind][1]} is needed") from None
