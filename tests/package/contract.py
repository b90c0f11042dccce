"""The contract: which package may import which, and how to find the imports that break it.

Comes in: a folder with a package ``engine``. Goes out: violations, one a line, to be read as
``who imports what: why not``. Imports inside functions and under ``TYPE_CHECKING`` count.
"""

from __future__ import annotations

import ast
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

COMMANDS = frozenset({"engine.run", "engine.doctor", "engine.join", "engine.keys"})
"""Modules at the top that start what is in ``cli``, and may be imported by nobody."""

MOST_AT_TOP = 16


def package_of(module: str) -> str:
    """The package of ``engine`` that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ALLOWED else "top"


def modules(folder: Path) -> dict[str, Path]:
    """Modules of ``folder/engine`` by name."""
    found: dict[str, Path] = {}
    for path in sorted((folder / "engine").rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the engine that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found |= {full if full in known else node.module} & known.keys()
    return found


def violations(folder: Path) -> list[str]:
    """Imports the wrong way, circles within a package, and too much at the top."""
    known = modules(folder)
    graph = {name: imports(path, known) for name, path in known.items()}
    found = []
    for name, targets in graph.items():
        package = package_of(name)
        for target in sorted(targets):
            other = package_of(target)
            if target in COMMANDS:
                found.append(f"{name} imports {target}: a command is started, not imported")
            elif name in COMMANDS and other == "cli":
                continue
            elif other != package and other not in ALLOWED[package]:
                found.append(f"{name} imports {target}: {package} may not import {other}")
    top = [name for name in known if name.count(".") == 1 and known[name].name != "__init__.py"]
    if len(top) > MOST_AT_TOP:
        found.append(f"{len(top)} modules at the top of engine; at most {MOST_AT_TOP}")
    return found


if __name__ == "__main__":
    print("\n".join(violations(Path.cwd())))
