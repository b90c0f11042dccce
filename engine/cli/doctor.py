"""The doctor: ``python -m engine.doctor`` says what this host can run, and what it lacks.

Each line is a thing found, or one missing with what supplies it. Exit code 0 whatever it finds:
a host without an NPU is no fault.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from engine.backends.ascend import npus
from engine.base import host
from engine.base.assets import DEMO
from engine.base.command_parser import CommandParser
from engine.base.console import needed, prepare
from engine.base.errors import EngineError
from engine.cli import speeds as table

_HOW = "docs/ascend.md"


@dataclass(frozen=True)
class Finding:
    """`topic`, whether it is `there`, what was found, and what to do where it is not."""

    topic: str
    there: bool
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Everything worth knowing, in the order in which it is needed."""
    return [*_cpu(), *_npus(), *_software()]


def _cpu() -> list[Finding]:
    features = ", ".join(npus.cpu_features())
    found = [
        Finding("CPU", True, f"{host.cpu_model()}, {host.cores()} cores"),
        Finding("CPU precisions", True, f"f32{', ' + features if features else ''}"),
    ]
    runtimes = npus.runtimes()
    found += [Finding(name, True, ", ".join(provided)) for name, provided in runtimes.items()]
    if not any(name.startswith("ONNX Runtime") for name in runtimes):
        found.append(
            Finding("ONNX Runtime", False, "not installed", "pip install '.[onnxruntime]'")
        )
    return found


def _npus() -> list[Finding]:
    chips, why = npus.npu_smi()
    if not chips:
        return [
            Finding(
                "NPU",
                False,
                f"none: {why}",
                "an Ascend host has npu-smi from the driver package; in a container it is "
                f"mounted from the host: {_HOW}",
            )
        ]
    found = []
    for chip in chips:
        busy = chip.busy()
        about = (
            f"{chip.soc_version}, health {chip.health}, {chip.used} of {chip.total} MB used, "
            f"{'AICore ' + str(chip.aicore) + ' %, ' if chip.aicore is not None else ''}"
            f"{'busy: ' + busy if busy else 'idle'}"
        )
        advice = "wait until it is idle before measuring: npu-smi info" if busy else ""
        found.append(Finding(f"NPU, --device {chip.device}", chip.health == "OK", about, advice))
    return found


def _software() -> list[Finding]:
    home, version = npus.toolkit()
    found = [
        Finding(
            "CANN",
            home is not None,
            f"{version or 'of unknown version'} in {home}" if home else "not found",
            f"install the toolkit, or take its container: {_HOW}" if home is None else "",
        ),
    ]
    sourced = npus.environment_set()
    found.append(
        Finding(
            "CANN environment",
            sourced,
            "set" if sourced else "not set",
            "" if sourced else npus.set_env(),
        )
    )
    for name in npus.VARIABLES:
        if value := os.environ.get(name):
            found.append(Finding(name, True, value))
    atc = shutil.which("atc")
    found.append(
        Finding(
            "atc",
            atc is not None,
            atc or "not on PATH",
            "" if atc else "comes with the toolkit; needed to compile only",
        )
    )
    about = npus.pyacl()
    found.append(
        Finding(
            "pyACL (--backend pyacl)",
            "error" not in about,
            _spelt(about),
            _advice(about, "comes with CANN, whose set_env.sh puts it on the path"),
        )
    )
    about = npus.aclruntime()
    if "error" in about:
        built = (
            ""
            if npus.python_fits()
            else (f"; it is built for Python 3.7 to 3.12, and this is {sys.version.split()[0]}")
        )
        found.append(
            Finding(
                "aclruntime (--backend acl)",
                False,
                f"{_spelt(about)}{built}",
                _advice(about, f"build it for your CANN (it is not on PyPI): {_HOW}"),
            )
        )
    else:
        spelt = f"{about['version']}, API of {about['api']}, {about['path']}"
        found.append(Finding("aclruntime (--backend acl)", True, spelt))
    return found


def _advice(about: Mapping[str, Any], where: str) -> str:
    """What to do about a module that cannot be imported; `where` it comes from."""
    if (error := about.get("error")) is None:
        return ""
    return npus.library_advice(error) or where


def _spelt(about: Mapping[str, Any]) -> str:
    return f"cannot be imported: {about['error']}" if "error" in about else str(about["path"])


def main(argv: Sequence[str] | None = None) -> int:
    """Print the findings."""
    parser = CommandParser(prog="python -m engine.doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.add_argument(
        "--measure",
        nargs="?",
        const=DEMO,
        metavar="MODEL",
        help="measure how fast MODEL (default: demo) runs here in each precision and layout, too; "
        "--precision fastest then knows",
    )
    args = parser.parse_args(argv)
    prepare()
    try:
        with needed():
            _print(args.measure, as_json=args.json)
    except EngineError as error:
        print(f"engine.doctor: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def marks(encoding: str | None) -> Sequence[str]:
    """What stands before a thing that is there, one that is missing, and what to do; in characters
    that a terminal has."""
    try:
        return list("✓✗→".encode(encoding or "ascii").decode(encoding or "ascii"))
    except (UnicodeError, LookupError):
        return ["+", "-", ">"]


def _print(model: str | None, *, as_json: bool) -> None:
    findings = examine()
    cells = None if model is None else table.measured(model)
    if as_json:
        about = {"machine": host.describe(), "findings": [asdict(f) for f in findings]}
        if cells is not None:
            about["speeds"] = [asdict(cell) for cell in cells]
        print(orjson.dumps(about, option=orjson.OPT_INDENT_2).decode())
        return
    width = max(len(finding.topic) for finding in findings)
    there, lacking, advised = marks(getattr(sys.stdout, "encoding", None))
    for finding in findings:
        print(f"{there if finding.there else lacking} {finding.topic:{width}}  {finding.found}")
        if finding.advice:
            print(f"  {'':{width}}  {advised} {finding.advice}")
    if cells is not None:
        print(f"\n{table.printed(cells)}")
