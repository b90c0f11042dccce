"""Kinds of run: which options have an effect in which.

Comes in: what options say. Goes out: the options that have no effect in such a run, and why. Flags
of these are refused, and variables, which are for runs of all kinds, are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, Final

from engine.base.option_field import RunKind, about, flag

_WHAT: Final[dict[RunKind, str]] = {
    "processes": "runs with processes of their own",
    "dataset": "runs over a data set",
    "samples": "runs that score a data set",
    "live": "live sources and --windows",
    "sources": "live sources",
    "averaged": "runs of several clips a sample",
}
"""Kinds of run, in words."""


def without_effect(options: type[Any], values: Mapping[str, Any]) -> dict[str, str]:
    """The names of options that have no effect in the run that `values` (by name) say, and why."""
    others = _other_kinds(values)
    why = {f.name: _why(f, values, others) for f in fields(options)}
    return {name: said for name, said in why.items() if said is not None}


def _why(f: Field[Any], values: Mapping[str, Any], others: Mapping[RunKind, str]) -> str | None:
    what = about(f)
    if values["dump_bin"] is not None and not what.dump:
        return "with --dump-bin, which runs nothing"
    if what.only is not None and what.only in others:
        return f"{others[what.only]}: it is for {_WHAT[what.only]}"
    if what.needs and not any(_is_given(one, values) for one in what.needs):
        return f"without {' or '.join(flag(one).replace('=', ' ') for one in what.needs)}"
    return None


def _is_given(need: str, values: Mapping[str, Any]) -> bool:
    name, _, wanted = need.partition("=")
    return bool(values[name] == wanted if wanted else values[name])


def _other_kinds(values: Mapping[str, Any]) -> dict[RunKind, str]:
    """Kinds that the run is not, and why."""
    found: dict[RunKind, str] = {}
    if values["in_process"]:
        found["processes"] = "with --in-process"
    if values["source"]:
        found["dataset"] = "with --source"
    if values["source"] or values["windows"]:
        of = "--source" if values["source"] else "--windows"
        found["samples"] = f"with {of}, whose labels are in --output"
    else:
        found["live"] = "without --source or --windows"
    if not values["source"]:
        found["sources"] = "without --source"
    if values["tta"] is False:
        found["averaged"] = "with --no-tta"
    elif "live" not in found and not values["tta"]:
        found["averaged"] = "with --source or --windows without --tta"
    return found
