"""The contract: which package may import which, and how to find the imports that break it.

Comes in: a folder with a package ``engine``. Goes out: violations, one a line, to be read as
``who imports what: why not``. Imports inside functions and under ``TYPE_CHECKING`` count, those of
circles too: a circle that is hidden in a function is one.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

GROUND = frozenset({"base"})
INPUT = GROUND | {"skeletons", "sources"}
ENGINE = GROUND | {"skeletons", "network", "backends"}
ALLOWED: dict[str, frozenset[str]] = {
    "base": frozenset(),
    "skeletons": GROUND,
    "sources": GROUND | {"skeletons"},
    "live": INPUT,
    "network": GROUND | {"skeletons"},
    "backends": GROUND | {"skeletons", "network"},
    "runtime": ENGINE,
    "outputs": INPUT | {"live"},
    "cli": INPUT | ENGINE | {"live", "runtime", "outputs", "top"},
    "top": INPUT | ENGINE | {"live", "runtime", "outputs"},
}
"""What a package may import besides itself; ``top`` are the modules at the top, for users."""

COMMANDS = frozenset(
    f"engine.{name}" for name in ("__main__", "run", "doctor", "fuse", "inspect", "join", "keys")
)
"""Modules at the top that start what is in ``cli``, and may be imported by nobody."""

OUTSIDE: dict[str, tuple[str, ...]] = {
    "converters": (),
    "mmaction": (),
    "mmcv": (),
    "torch": ("engine.backends.torch",),
    "triton": ("engine.backends.torch",),
    "ray": ("engine.runtime.cluster", "engine.ray"),
}
"""Who outside of the engine may be imported by whom alone."""

MOST_AT_TOP = 16


def package_of(module: str, known: dict[str, Path]) -> str:
    """The package of ``engine`` that a module belongs to."""
    parts = module.split(".")
    is_package = known[module].name == "__init__.py" or len(parts) > 2
    return parts[1] if len(parts) > 1 and is_package else "top"


def modules(folder: Path) -> dict[str, Path]:
    """Modules of ``folder/engine`` by name."""
    found: dict[str, Path] = {}
    for path in sorted((folder / "engine").rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path
    return found


def imports(name: str, known: dict[str, Path]) -> set[str]:
    """What a module imports, anywhere in it: modules of the engine, and of others by their full
    names."""
    found: set[str] = set()
    path = known[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{module}.{alias.name}"
                found.add(full if full in known else module)
    return found


def violations(folder: Path) -> list[str]:
    """Imports the wrong way, circles within a package, and too much at the top."""
    known = modules(folder)
    graph = {name: imports(name, known) for name in known}
    found = []
    for name, targets in graph.items():
        package = package_of(name, known)
        if package not in ALLOWED:
            found.append(f"{name} is in a package that the contract does not know: {package}")
            continue
        for target in sorted(targets):
            root = target.split(".")[0]
            if root in OUTSIDE and not name.startswith(OUTSIDE[root] or ("nobody",)):
                found.append(f"{name} imports {target}: not its business")
            if target not in known:
                continue
            other = package_of(target, known)
            if target in COMMANDS:
                found.append(f"{name} imports {target}: a command is started, not imported")
            elif name in COMMANDS and other == "cli":
                continue
            elif other != package and other not in ALLOWED[package]:
                found.append(f"{name} imports {target}: {package} may not import {other}")
    top = [name for name in known if name.count(".") == 1 and known[name].name != "__init__.py"]
    if len(top) > MOST_AT_TOP:
        found.append(f"{len(top)} modules at the top of engine; at most {MOST_AT_TOP}")
    try:
        TopologicalSorter({n: t & known.keys() for n, t in graph.items()}).prepare()
    except CycleError as error:
        found.append(f"a circle of imports: {' -> '.join(reversed(error.args[1]))}")
    return found


if __name__ == "__main__":
    print("\n".join(violations(Path.cwd())))
