"""Configuration files of mmaction2 and pyskl, read with `ast`: nothing in them is executed.

Comes in: the path of a config (the files below it are followed). Goes out: its variables
(`converters.variables`); what they mean is in `converters.architectures` and `converters.dialects`.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from converters.variables import Unreadable, Variables
from engine.base.errors import ModelError


def read_config(
    path: Path, _parents: tuple[Path, ...] = (), found: list[Path] | None = None
) -> dict[str, Any]:
    """The variables of a config file, those of its ``_base_`` files merged below them. All of them
    are appended to `found`."""
    path = path.resolve()
    if path in _parents:
        raise ModelError(f"config {path}: _base_ leads back to itself")
    tree = _parse(path)
    if found is not None:
        found.append(path)

    def below(file: str) -> dict[str, Any]:
        return read_config(path.parent / file, (*_parents, path), found)

    variables = Variables(path.name)
    for node in tree.body:
        try:
            match node:
                case ast.With(
                    items=[ast.withitem(context_expr=ast.Call(func=ast.Name(id="read_base")))]
                ):
                    for one in node.body:
                        if isinstance(one, ast.ImportFrom):
                            file = f"{'../' * (one.level - 1)}{_as_path(one.module)}.py"
                            variables.assign(_imported(below(file), one.names))
                case _:
                    variables.take(node)
        except RecursionError:
            raise ModelError(f"config {path}: line {node.lineno} nests too deep") from None
    own = variables.values()
    bases = own.pop("_base_", [])
    merged: dict[str, Any] = {}
    for base in bases if isinstance(bases, (list, tuple)) else [bases]:
        if not isinstance(base, str):
            raise ModelError(f"config {path}: _base_ holds {base!r:.60}, not a path")
        merged.update(below(base))
    return _merge(merged, own)


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise ModelError(
            f"config {path} is not a text file; the config comes first, then the checkpoint"
        ) from None
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        raise ModelError(f"config {path}: {error}") from None


def _imported(values: Mapping[str, Any], names: list[ast.alias]) -> dict[str, Any]:
    """What an import takes of the file that it names: 1.x's new style, in which an assignment
    replaces what came from there, and nothing is merged."""
    if names[0].name == "*":
        return dict(values)
    return {one.asname or one.name: values[one.name] for one in names if one.name in values}


def files_of(path: Path) -> list[Path]:
    """A config file and its ``_base_`` files, as `read_config` finds them."""
    found: list[Path] = []
    read_config(path, found=found)
    return found


def _as_path(module: str | None) -> str:
    return (module or "").replace(".", "/")


def _merge(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Dicts are merged key by key (unless ``_delete_``), everything else replaced."""
    merged = dict(base)
    for key, value in own.items():
        below = merged.get(key)
        if isinstance(value, Mapping):
            value = dict(value)
            if not value.pop("_delete_", False) and isinstance(below, dict):
                value = _merge(below, value)
        merged[key] = value
    return merged


def section(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A dict in a config. Raises `ModelError` where it is none, or holds what is not readable."""
    section = values.get(key)
    if isinstance(section, Unreadable):
        raise ModelError(f"{key} {section}")
    if not isinstance(section, Mapping):
        raise ModelError(f"no {key}")
    for name, value in section.items():
        if isinstance(value, Unreadable):
            raise ModelError(f"{key}.{name} {value}")
    return section


def unknown_keys(name: str, unknown: Collection[Any], known: Collection[str]) -> str:
    """What is wrong with keys of `name` that nothing here reads."""
    return (
        f"{name} has unknown {', '.join(sorted(map(str, unknown)))}, which could change the "
        f"result; known are {', '.join(sorted(known)) or 'none'}"
    )
