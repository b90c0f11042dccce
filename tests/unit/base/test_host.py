"""What the machine has, as far as we may use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.base import host

MACHINE = host.memory_limit()


@pytest.mark.parametrize(
    ("cgroup", "files", "limit"),
    [
        ("0::/a/b\n", {"a/memory.max": 5 << 30, "a/b/memory.max": "max"}, 5 << 30),
        ("0::/a/b\n", {"a/memory.max": 5 << 30, "a/b/memory.max": 3 << 30}, 3 << 30),
        ("0::/\n", {"memory.max": 2 << 30}, 2 << 30),
        ("0::/elsewhere\n", {"memory.max": 2 << 30}, 2 << 30),
        ("4:memory:/x/y\n0::/\n", {"memory/x/memory.limit_in_bytes": 1 << 30}, 1 << 30),
        ("4:cpu,memory:/x\n", {"memory/x/memory.limit_in_bytes": 2**63 - 4096}, MACHINE),
        ("2:cpu:/x\n", {"x/memory.max": 1 << 20}, MACHINE),
        ("", {}, MACHINE),
    ],
)
def test_limits_of_control_groups(tmp_path: Path, cgroup: str, files: Any, limit: int) -> None:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text(cgroup)
    for name, value in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    assert host.memory_limit(tmp_path / "proc", tmp_path / "groups") == limit
