"""Configuration files of mmaction2 and pyskl, read with `ast`: nothing in them is executed.

Comes in: the path of a config (``_base_`` files are followed). Goes out: its variables; what they
mean is in `converters.architectures` and `converters.dialects`.

A value that is no plain literal (a function call, a comprehension) is remembered as
unreadable and is an error only if the model needs it.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.base.errors import ModelError


@dataclass(frozen=True)
class Unreadable:
    """A value that only executing the file would give."""

    where: str


def read_config(
    path: Path, _parents: tuple[Path, ...] = (), found: list[Path] | None = None
) -> dict[str, Any]:
    """The variables of a config file, those of its ``_base_`` files merged below them. All of them
    are appended to `found`."""
    path = path.resolve()
    if path in _parents:
        raise ModelError(f"config {path}: _base_ leads back to itself")
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        raise ModelError(f"config {path}: {error}") from None
    if found is not None:
        found.append(path)
    own: dict[str, Any] = {}
    classes: dict[str, str] = {}  # 1.x's new style has them in place of their names
    below: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            classes |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.With):  # with read_base(): from ..x import *
            imports = [one for one in node.body if isinstance(one, ast.ImportFrom)]
            below += [f"{'../' * (i.level - 1)}{_as_path(i.module)}.py" for i in imports]
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name):
                try:
                    own[target.id] = _evaluate(node.value, {**classes, **own}, path)
                except RecursionError:
                    raise ModelError(f"config {path}: line {node.lineno} nests too deep") from None
    bases = own.pop("_base_", below)
    merged: dict[str, Any] = {}
    for base in bases if isinstance(bases, (list, tuple)) else [bases]:
        if not isinstance(base, str):
            raise ModelError(f"config {path}: _base_ holds {base!r:.60}, not a path")
        merged.update(read_config(path.parent / base, (*_parents, path), found))
    return _merge(merged, own)


def files_of(path: Path) -> list[Path]:
    """A config file and its ``_base_`` files, as `read_config` finds them."""
    found: list[Path] = []
    read_config(path, found=found)
    return found


def _as_path(module: str | None) -> str:
    return (module or "").replace(".", "/")


_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Div: operator.truediv,
}


def _evaluate(node: ast.expr, names: Mapping[str, Any], path: Path) -> Any:
    def value(child: ast.expr) -> Any:
        return _evaluate(child, names, path)

    match node:
        case ast.Constant():
            return node.value
        case ast.List():
            return [value(e) for e in node.elts]
        case ast.Tuple():
            return tuple(value(e) for e in node.elts)
        case ast.Dict(keys=keys) if all(isinstance(k, ast.Constant) for k in keys):
            return {
                k.value: value(v)
                for k, v in zip(keys, node.values, strict=True)
                if isinstance(k, ast.Constant)
            }
        case ast.Call(func=ast.Name(id="dict"), args=[]):
            parts = [(k.arg, value(k.value)) for k in node.keywords]
            if all(name or isinstance(one, dict) for name, one in parts):  # without: **one
                named = ({name: one} if name else one for name, one in parts)
                return {str(key): one for part in named for key, one in part.items()}
        case ast.Name() if node.id in names:
            return names[node.id]
        case ast.UnaryOp(op=ast.USub()):
            inner = value(node.operand)
            if isinstance(inner, (int, float)):
                return -inner
        case ast.BinOp() if type(node.op) in _OPERATORS:
            left, right = value(node.left), value(node.right)
            try:
                return _OPERATORS[type(node.op)](left, right)
            except (TypeError, ArithmeticError):
                pass
    return Unreadable(f"{path.name} line {node.lineno}")


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
        raise ModelError(f"{key} ({section.where}) is not a plain literal")
    if not isinstance(section, Mapping):
        raise ModelError(f"no {key}")
    for name, value in section.items():
        if isinstance(value, Unreadable):
            raise ModelError(f"{key}.{name} ({value.where}) is not a plain literal")
    return section
