"""What a host has: tables of npu-smi in their variations, and the doctor around stand-ins."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.backends.ascend import npus
from engine.backends.ascend.npus import (
    cpu_features,
    environment_set,
    parse_npu_smi,
    toolkit,
    visible,
)
from tests.support import DATA, ROOT

TABLES = DATA / "npu_smi"


def table(name: str) -> list[npus.Npu]:
    return parse_npu_smi((TABLES / f"{name}.txt").read_text())


def test_a_310p3() -> None:
    [npu] = table("310p3")
    assert (npu.device, npu.card, npu.chip, npu.soc_version) == (0, 0, 0, "Ascend310P3")
    assert (npu.health, npu.aicore, npu.used, npu.total) == ("OK", 0, 1074, 21534)
    assert npu.busy() is None


def test_a_busy_one_and_a_sick_one() -> None:
    busy, sick = table("310p3_busy_narrow")
    assert (busy.device, busy.card, busy.used, busy.total) == (0, 7, 19435, 21527)
    assert busy.processes == ((31415, "python3"),)
    assert busy.busy() == "process 31415 (python3) is on it"
    assert (sick.device, sick.card, sick.used) == (1, 24, 957)
    assert sick.busy() == "its health is Warning"


def test_two_chips_on_a_card() -> None:
    first, second = table("300i_duo")
    assert (first.card, first.chip, first.device) == (32768, 0, 0)
    assert (second.card, second.chip, second.device, second.total) == (32768, 1, 1, 43693)


def test_a_table_without_the_column_of_devices() -> None:
    first, second = table("910b3")
    assert (first.device, first.soc_version, first.used, first.total) == (
        0,
        "Ascend910B3",
        3161,
        65536,
    )
    assert (second.device, second.health) == (1, "Alarm")


@pytest.mark.parametrize("text", ["", "npu-smi: command failed", "| a | b | c |\n| 0 | 1 | 2 |"])
def test_no_table(text: str) -> None:
    assert parse_npu_smi(text) == []


def test_a_chip_without_health() -> None:
    text = (TABLES / "310p3.txt").read_text().replace("| OK  ", "| -   ")
    [npu] = parse_npu_smi(text)
    assert npu.busy() == "its health is -"


def test_visible_devices_are_numbered_anew() -> None:
    both = table("300i_duo")
    assert visible(both, {}) == both
    [only] = visible(both, {"ASCEND_RT_VISIBLE_DEVICES": "1"})
    assert (only.device, only.chip) == (0, 1)
    assert [n.chip for n in visible(both, {"ASCEND_RT_VISIBLE_DEVICES": "1,0,7"})] == [1, 0]


def test_memory_in_use_is_busy() -> None:
    text = (TABLES / "310p3.txt").read_text().replace("1074 /", "9074 /")
    [npu] = parse_npu_smi(text)
    assert npu.busy() == "9074 of its 21534 MB are in use"


@pytest.mark.parametrize(
    ("cpuinfo", "found"),
    [
        ("flags\t\t: fpu avx512f avx512_vnni avx512_bf16\n", ["bf16 (AVX-512)", "int8 (VNNI)"]),
        ("flags : amx_bf16 amx_int8 avx_vnni\n", ["bf16 (AMX)", "int8 (AMX)", "int8 (VNNI)"]),
        ("Features\t: fp asimd bf16 i8mm\n", ["bf16", "int8"]),
        ("", []),
    ],
)
def test_cpu_features(cpuinfo: str, found: list[str]) -> None:
    assert cpu_features(cpuinfo) == found


def test_toolkit(tmp_path: Path) -> None:
    info = tmp_path / "x86_64-linux" / "ascend_toolkit_install.info"
    info.parent.mkdir()
    info.write_text("package_name=Ascend-cann-toolkit\nversion=8.2.RC1\narch=x86_64\n")
    environment = {"ASCEND_TOOLKIT_HOME": str(tmp_path)}
    assert toolkit(environment) == (tmp_path, "8.2.RC1")
    assert environment_set(environment)
    info.unlink()
    assert toolkit(environment) == (tmp_path, None)
    assert not environment_set({})


def doctor(*arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "engine.doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.slow
def test_the_doctor_without_an_npu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    found = doctor()
    assert "✓ OpenVINO" in found
    assert "✗ NPU" in found
    assert "No module named 'aclruntime'" in found
    assert "No module named 'acl'" in found
    assert "atc" in found
    assert found.count("docs/ascend.md") == 3
    about = json.loads(doctor("--json"))
    assert {f["topic"] for f in about["findings"]} >= {"CPU", "NPU", "CANN", "atc"}
    assert about["machine"]["cores"] >= 1


def test_the_doctor_with_stand_ins(
    stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in("310p3_busy_narrow")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'tests' / 'doubles'}:{ROOT}")
    monkeypatch.setenv("ASCEND_TOOLKIT_HOME", str(tmp_path))
    found = doctor()
    assert "✓ NPU, --device 0" in found
    assert "busy: process 31415 (python3) is on it" in found
    assert "✗ NPU, --device 1" in found
    assert "✓ CANN environment" in found
    assert "✓ aclruntime (--backend acl)" in found
    assert "API of 2025" in found
    assert "✓ pyACL (--backend pyacl)" in found
    assert "✓ atc" in found
    assert "✓ ASCEND_TOOLKIT_HOME" in found


def test_the_doctor_without_the_environment_of_cann(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A module that is there and finds no library of CANN's need not be built."""
    lack = "libascendcl.so: cannot open shared object file: No such file or directory"
    for module in ("aclruntime", "acl"):
        (tmp_path / f"{module}.py").write_text(f"raise ImportError({lack!r}, name={module!r})\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    findings = {f["topic"]: f for f in json.loads(doctor("--json"))["findings"]}
    for topic in ("aclruntime (--backend acl)", "pyACL (--backend pyacl)"):
        assert lack in findings[topic]["found"]
        assert findings[topic]["advice"] == f"{npus.set_env()} first, in this shell"
    assert findings["CANN environment"]["advice"] == npus.set_env()


def test_npu_smi_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The classic of containers: what it says is shown."""
    program = tmp_path / "npu-smi"
    program.write_text("#!/bin/sh\necho 'dcmi module initialize failed. ret is -8005'; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert "npu-smi says: dcmi module initialize failed. ret is -8005" in doctor()
