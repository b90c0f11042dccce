"""The variables of a config file: what its statements leave in them, without executing one.

Comes in: statements (`ast`). Goes out: values. Plain literals are read, and what is put together of
them; everything else is `Unreadable`, which is an error only if the network needs it. So is what a
statement that is not read may have changed: the names that it binds, and each name whose value
shares a list or a dict with one that the statement mentions.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_HARMLESS: Final = {"print", "len", "str", "int", "float", "bool", "range", "max", "min", "sum"}
_ANYTHING: Final = {"exec", "eval", "globals", "locals", "vars"}  # they reach names unnamed
_OPERATORS: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True, repr=False)
class Unreadable:
    """A value that only executing the file would give. `where`: file and line. `changed`: it was
    readable until that line."""

    where: str
    changed: bool = False

    def __str__(self) -> str:
        """What to say after the name of the variable."""
        if self.changed:
            return f"may be changed by {self.where}, which is not read; write it as one literal"
        return f"({self.where}) is not a plain literal; write it as one"

    def __repr__(self) -> str:
        return f"<{self.where}>"  # inside of what an error message shows


def first_unreadable(value: Any) -> Unreadable | None:
    """One that a value holds, or is."""
    return next((part for part in _inside(value) if isinstance(part, Unreadable)), None)


class Variables:
    """Of one file, called `file` in messages. Statements are given to `take`, one after another."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._held: dict[str, Any] = {}
        self._changed: dict[str, Unreadable] = {}  # in place of what is held
        self._classes: dict[str, str] = {}  # imported: 1.x's new style has them as types
        self._functions: list[ast.stmt] = []

    def values(self) -> dict[str, Any]:
        """What the file leaves, by name."""
        for node in self._functions:  # they may have been called after what they change was there
            self._leave_unread(node)
        return {**self._held, **self._changed}

    def assign(self, values: Mapping[str, Any]) -> None:
        """Bind names anew."""
        for name in values:
            self._changed.pop(name, None)
            self._classes.pop(name, None)
        self._held.update(values)

    def take(self, node: ast.stmt) -> None:
        """Follow a statement."""
        match node:
            case ast.Assign(targets=targets, value=value):
                names = [target.id for target in targets if isinstance(target, ast.Name)]
                if len(names) < len(targets):
                    self._leave_unread(node)
                else:
                    self.assign(dict.fromkeys(names, self._value(value)))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self.assign({name: self._value(value)})
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                self._import(node, names)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self._functions.append(node)
                self._leave_unread(node)
                self.assign({node.name: self._unreadable(node)})
            case ast.AnnAssign(target=ast.Name(), value=None) | ast.Assert():
                pass
            case _:
                self._leave_unread(node)

    def _import(self, node: ast.stmt, names: list[ast.alias]) -> None:
        for alias in names:
            if alias.name == "*":
                self._change(list(self._held), node)
            else:
                bound = alias.asname or alias.name.partition(".")[0]
                self.assign({bound: self._unreadable(node)})
                if isinstance(node, ast.ImportFrom):
                    self._classes[bound] = alias.name

    def _unreadable(self, node: ast.stmt | ast.expr) -> Unreadable:
        return Unreadable(f"{self._file} line {node.lineno}")

    def _change(self, names: Collection[str], node: ast.stmt | ast.expr) -> None:
        for name in names:
            self._changed.setdefault(name, Unreadable(self._unreadable(node).where, changed=True))

    def _leave_unread(self, node: ast.stmt | ast.expr) -> None:
        """Note what may be another afterwards."""
        touched: set[int] = set()
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        target = _changed_in_place(node)
        known = None if target is None else self._value(target)
        if isinstance(known, (dict, list)):
            touched.add(id(known))
        for part in _parts(node, leave_out=target if touched else None):
            match part:
                case ast.Name(id=name) if name in _ANYTHING:
                    self._change(list(self._held), node)
                case ast.Name(id=name, ctx=ast.Load()) | ast.AugAssign(target=ast.Name(id=name)):
                    touched.update(map(id, _containers(self._held.get(name))))
                case ast.Name(id=name) if not inside:
                    self._change([name], node)
                case ast.Global(names=names):
                    self._change(names, node)
                case ast.alias() if not inside:
                    self._change([part.asname or part.name], node)
        touched -= {id(one) for one in _containers(self._held.get("_base_"))}  # is read at once
        if touched:
            for name, value in self._held.items():
                if any(id(one) in touched for one in _containers(value)):
                    self._change([name], node)

    def _value(self, node: ast.expr) -> Any:
        value = self._value
        match node:
            case ast.Constant():
                return node.value
            case ast.List() if not any(isinstance(e, ast.Starred) for e in node.elts):
                return [value(e) for e in node.elts]
            case ast.Tuple() if not any(isinstance(e, ast.Starred) for e in node.elts):
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
            case ast.Name(id=name) if name in self._classes:
                return self._classes[name]
            case ast.Name(id=name) if name in self._changed:
                self._leave_unread(node)  # what it holds has another name now
                return self._changed[name]
            case ast.Name(id=name) if name in self._held:
                return self._held[name]
            case ast.Subscript():
                outer, key = value(node.value), value(node.slice)
                try:
                    if isinstance(outer, (dict, list, tuple)):
                        return outer[key]
                except (LookupError, TypeError):
                    pass
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
        self._leave_unread(node)
        return self._unreadable(node)


def _changed_in_place(node: ast.AST) -> ast.expr | None:
    """What alone is changed by one of the usual statements: ``a[0]['k'] = 1``, ``a[0].update()``.
    Its lists and dicts are not."""
    match node:
        case (
            ast.Assign(targets=[ast.Subscript(value=target)])
            | ast.AugAssign(target=ast.Subscript(value=target))
            | ast.Delete(targets=[ast.Subscript(value=target)])
            | ast.Expr(value=ast.Call(func=ast.Attribute(value=target)))
        ):
            return target
    return None


def _parts(node: ast.AST, leave_out: ast.expr | None) -> Iterator[ast.AST]:
    """The nodes of a statement, without calls that change nothing."""
    stack = [node]
    while stack:
        match part := stack.pop():
            case ast.Call(func=ast.Name(id=name)) if name in _HARMLESS:
                continue
            case _ if part is leave_out:
                continue
        yield part
        stack += ast.iter_child_nodes(part)


def _containers(value: Any) -> Iterator[dict[Any, Any] | list[Any]]:
    """Each list and dict in a value, itself included: what can be changed in place."""
    return (part for part in _inside(value) if isinstance(part, (dict, list)))


def _inside(value: Any) -> Iterator[Any]:
    """A value, and what is in it."""
    stack, seen = [value], set[int]()
    while stack:
        part = stack.pop()
        if isinstance(part, (dict, list, tuple)):
            if id(part) in seen:
                continue
            seen.add(id(part))
            stack += part.values() if isinstance(part, dict) else part
        yield part
