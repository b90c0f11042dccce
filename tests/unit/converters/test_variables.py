"""What the statements of a config file leave in its variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from converters.config import read_config
from converters.variables import Unreadable, first_unreadable

PLAIN = """\
sides = [1, 2]
train = [dict(type='A', sides=sides), dict(type='B')]
test = [dict(type='A', sides=sides), dict(type='C', n=1)]
data = dict(test=dict(pipeline=test))
size = 3
"""


def values_of(folder: Path, text: str) -> dict[str, Any]:
    (folder / "config.py").write_text(text)
    return read_config(folder / "config.py")


def changed(folder: Path, statement: str) -> set[str]:
    """Which of the names above are not as written after a statement, which is told."""
    values = values_of(folder, f"{PLAIN}{statement}\n")
    plain = values_of(folder, PLAIN)
    found = {name for name in plain if values[name] != plain[name]}
    for name in found:
        assert values[name] == Unreadable("config.py line 6", changed=True)
    return found


@pytest.mark.parametrize(
    "statement",
    [
        "test[1]['n'] = 2",
        "test[1]['n'] += 1",
        "test[1].update(n=2)",
        "test[-1].update(dict(n=2))",
        "test.append(dict(type='D'))",
        "test += [dict(type='D')]",
        "del test[0]",
        "data['test']['pipeline'][1]['n'] = 2",
        "for step in test: step['n'] = 2",
        "if size: test[1]['n'] = 2",
        "test[1].n = 2",
        "change(test)",
        "steps = list(test)",
        "first, second = test",
        "n = [step.pop('n') for step in test]",
        "def later(): test[1]['n'] = 2",
        "steps = dict(s=[*test])",
        "while test: test.pop()",
    ],
)
def test_what_a_statement_may_change(tmp_path: Path, statement: str) -> None:
    """The list itself, and whatever holds it; not what only holds a list that both hold."""
    assert changed(tmp_path, statement) >= {"test", "data"}
    assert "size" not in changed(tmp_path, statement)


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("train[0]['n'] = 2", {"train"}),
        ("train[0].update(n=2)", {"train"}),
        ("sides.append(3)", {"sides", "train", "test", "data"}),
        ("del size", {"size"}),
        ("size += 1", {"size"}),
        ("if True: size = 4", {"size"}),
        ("for size in range(3): pass", {"size"}),
        ("import os as size", set()),  # a binding like another
        ("exec('size = 4')", {"sides", "train", "test", "data", "size"}),
        ("from elsewhere import *", {"sides", "train", "test", "data", "size"}),
        ("def f():\n    global size\n    size = 4", {"size"}),
    ],
)
def test_names(tmp_path: Path, statement: str, names: set[str]) -> None:
    if statement.startswith("import"):
        assert values_of(tmp_path, f"{PLAIN}{statement}\n")["size"] == Unreadable(
            "config.py line 6"
        )
    else:
        assert changed(tmp_path, statement) == names


@pytest.mark.parametrize(
    "statement",
    [
        "print(test, size)",
        "assert test[1]['n'] == 1",
        "'a comment'",
        "import os",
        "from os import path",
        "os.system('false')",
        "count = len(test)",
        "file = f'{size}.pkl'",
        "other = [i for i in range(size)]",
        "if size: print(test)",
        "def unused(size): return size",
        "class Unused:\n    size = 4",
        "open('x')",
    ],
)
def test_what_changes_nothing(tmp_path: Path, statement: str) -> None:
    assert changed(tmp_path, statement) == set()


def test_annotated_chained_and_indexed(tmp_path: Path) -> None:
    values = values_of(
        tmp_path, "a: list = [dict(k=1)]\nb = c = a[0]['k']\nd: int\ne = g(3)\nf = [3, [e]]\n"
    )
    assert values.pop("e") == Unreadable("config.py line 4")
    assert first_unreadable(values.pop("f")) == Unreadable("config.py line 4")
    assert values == {"a": [{"k": 1}], "b": 1, "c": 1}
    assert first_unreadable(values) is None


def test_bound_anew(tmp_path: Path) -> None:
    """What was changed before does not matter then."""
    values = values_of(tmp_path, "a = [1]\nb = a\na.append(2)\na = [3]\n")
    assert values == {"a": [3], "b": Unreadable("config.py line 3", changed=True)}


def test_the_new_style_replaces(tmp_path: Path) -> None:
    """Names of the files below are names of the file; a dict is not merged with the one before."""
    (tmp_path / "base.py").write_text("a = dict(k=1, l=[2])\nb = a['l']\nc = 3\n")
    below = "with read_base():\n    from .base import {}\n"
    assert values_of(tmp_path, below.format("*") + "a = dict(m=b)\n") == {
        **{"a": {"m": [2]}, "b": [2], "c": 3}
    }
    values = values_of(tmp_path, below.format("*") + "a['k'] = 2\n")
    assert values == {"a": Unreadable("config.py line 3", changed=True), "b": [2], "c": 3}
    assert values_of(tmp_path, below.format("c as d, none")) == {"d": 3}


def test_names_that_share_many_times(tmp_path: Path) -> None:
    """Read in time that grows with the file, not with what it would print."""
    doubled = "".join(f"a{i + 1} = [a{i}, a{i}]\n" for i in range(64))
    values = values_of(tmp_path, f"a0 = []\n{doubled}a0.append(1)\n")
    assert all(isinstance(one, Unreadable) for one in values.values())
