"""What this host can run: NPUs, their software, the CPU's features, other runtimes.

Pure reading: nothing is initialised on a device, and modules that might do so are imported in
processes of their own.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine.base import subprocesses

_TIMEOUT_S = 30
_BASELINE = 0.1  # of a chip's memory: what its firmware takes is less
_CPU_FEATURES = {
    "amx_bf16": "bf16 (AMX)",
    "avx512_bf16": "bf16 (AVX-512)",
    "bf16": "bf16",  # aarch64
    "amx_int8": "int8 (AMX)",
    "avx512_vnni": "int8 (VNNI)",
    "avx_vnni": "int8 (VNNI)",
    "i8mm": "int8",  # aarch64
}
# Where a toolkit is installed: newer releases first.
TOOLKITS = (
    "/usr/local/Ascend/cann",
    "/usr/local/Ascend/ascend-toolkit/latest",
    "/usr/local/Ascend/nnae/latest",
)
_SCRIPTS = ("/usr/local/Ascend/cann", "/usr/local/Ascend/ascend-toolkit")  # where set_env.sh is
VISIBLE = "ASCEND_RT_VISIBLE_DEVICES"
_TOOLKIT_VARIABLES = ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH")
VARIABLES = (*_TOOLKIT_VARIABLES, VISIBLE, "LD_LIBRARY_PATH")
_ABOUT_ACL = """
import json, acl
print("\\n" + json.dumps({"path": acl.__file__}))
"""
_ABOUT_ACLRUNTIME = """
import json, aclruntime
from importlib.metadata import PackageNotFoundError, version
try:
    number = version("aclruntime")
except PackageNotFoundError:
    number = "not installed as a package"
api = 2025 if hasattr(aclruntime.InferenceSession, "free_resource") else 2023
print("\\n" + json.dumps({"version": number, "api": api, "path": aclruntime.__file__}))
"""


_ABOUT_TORCH = """
import json, torch
names = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
print("\\n" + json.dumps({"version": torch.__version__, "gpus": names}))
"""


@dataclass(frozen=True)
class Npu:
    """A chip, as ``npu-smi info`` lists it. `device`: the number that ``--device`` takes.
    `processes`: (process id, name) of those on it."""

    device: int
    card: int
    chip: int
    name: str
    health: str
    aicore: int | None  # per cent
    used: int  # MB
    total: int
    processes: tuple[tuple[int, str], ...] = ()

    @property
    def soc_version(self) -> str:
        """As atc's ``--soc_version`` wants it."""
        return soc_version(self.name)

    def busy(self) -> str | None:
        """Why a measurement on it would be wrong; None if it is idle. Memory is looked at, too:
        in a container the processes of others are not listed."""
        if self.health != "OK":
            return f"its health is {self.health}"
        if self.processes:
            return f"process {self.processes[0][0]} ({self.processes[0][1]}) is on it"
        if self.aicore:
            return f"its cores are at {self.aicore} %"
        if self.used > _BASELINE * self.total:
            return f"{self.used} of its {self.total} MB are in use"
        return None


def soc_version(name: str) -> str:
    """A chip's name in ``npu-smi info``, such as 310P3, as atc's ``--soc_version`` wants it."""
    return name if name.startswith("Ascend") else f"Ascend{name}"


def parse_npu_smi(text: str) -> list[Npu]:
    """The chips in the table of ``npu-smi info``: two rows a chip, known by what is in them,
    since widths, separators and some columns differ between versions and chips."""
    found: list[Npu] = []
    processes: dict[tuple[int, int], list[tuple[int, str]]] = {}
    card: tuple[int, str, str] | None = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 4 and cells[1].isdecimal():
            numbers = [int(n) for n in cells[0].split() if n.isdecimal()]
            if numbers:
                place = numbers[0], numbers[1] if len(numbers) > 1 else 0
                processes.setdefault(place, []).append((int(cells[1]), cells[2]))
            continue
        if len(cells) != 3:
            continue
        head = re.fullmatch(r"(\d+)\s+(\S*[A-Za-z]\S*)", cells[0])
        place_cell = re.fullmatch(r"(\d+)(?:\s+(\d+))?", cells[0])
        if head and re.fullmatch(r"[A-Za-z]+|-", cells[1]):
            card = int(head[1]), head[2], cells[1]
        elif place_cell and card is not None:
            pairs = re.findall(r"(\d+)\s*/\s*(\d+)", cells[2])
            if not pairs:
                continue
            used, total = map(int, pairs[-1])  # of two, the last is the memory that models take
            share = re.match(r"\d+", cells[2])
            device = int(place_cell[2]) if place_cell[2] else len(found)
            aicore = int(share[0]) if share else None
            found.append(
                Npu(device, card[0], int(place_cell[1]), card[1], card[2], aicore, used, total)
            )
            card = None
    return [replace(npu, processes=tuple(processes.get((npu.card, npu.chip), ()))) for npu in found]


def npu_smi() -> tuple[list[Npu], str]:
    """The chips of this host, as ``--device`` counts them, and why there are none."""
    if shutil.which("npu-smi") is None:
        return [], "there is no npu-smi"
    try:
        result = subprocess.run(
            ["npu-smi", "info"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], f"npu-smi: {error}"
    found = parse_npu_smi(result.stdout)
    said = " ".join(f"{result.stdout} {result.stderr}".split())[:200]
    return visible(found), "" if found else f"npu-smi says: {said or 'nothing'}"


def visible(found: list[Npu], environment: Mapping[str, str] = os.environ) -> list[Npu]:
    """The chips that programs see, numbered as they see them: ``ASCEND_RT_VISIBLE_DEVICES`` chooses
    and numbers anew."""
    listed = environment.get(VISIBLE, "")
    numbers = [int(part) for part in listed.split(",") if part.strip().isdecimal()]
    if not numbers:
        return found
    by_number = {npu.device: npu for npu in found}
    return [
        replace(by_number[number], device=place)
        for place, number in enumerate(numbers)
        if number in by_number
    ]


def warn_of_others(devices: Sequence[int]) -> list[str]:
    """Why a rate measured on these devices now would be wrong, in words; empty where it would
    not. To be asked before they are used."""
    return [
        f"NPU {npu.device} is not idle: {busy}"
        for npu in npu_smi()[0]
        if npu.device in devices and (busy := npu.busy())
    ]


def toolkit(environment: Mapping[str, str] = os.environ) -> tuple[Path | None, str | None]:
    """Where CANN's toolkit is, and its version; None for what is not found."""
    places = [environment.get(name) for name in _TOOLKIT_VARIABLES] + list(TOOLKITS)
    for place in places:
        if place and (home := Path(place)).is_dir():
            return home, _version(home)
    return None, None


def _version(home: Path) -> str | None:
    for path in [*home.glob("*-linux/*_install.info"), *home.glob("*_install.info")]:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        if match := re.search(r"(?im)^version\s*=\s*(\S+)", text):
            return match[1]
    return None


def environment_set(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether CANN's ``set_env.sh`` was sourced."""
    return any(environment.get(name) for name in _TOOLKIT_VARIABLES)


def set_env() -> str:
    """The command that sets CANN's environment in a shell."""
    scripts = [home / "set_env.sh" for home in map(Path, _SCRIPTS)]
    found = next((script for script in scripts if script.is_file()), "set_env.sh of the toolkit")
    return f"source {found}"


def library_advice(error: str) -> str | None:
    """What to do where a module is there and a library of CANN's is not found; None where the
    import failed of something else."""
    if (found := re.search(r"\b(lib[\w.+-]+): cannot open shared object file", error)) is None:
        return None
    if environment_set():
        return (
            f"CANN's environment is set, and {found[1]} is in no folder of LD_LIBRARY_PATH: it "
            "comes with the toolkit, or with the driver (its lib64)"
        )
    return f"{set_env()} first, in this shell"


def aclruntime() -> dict[str, Any]:
    """The module's ``version``, ``api`` (2023 or 2025) and ``path``, or the ``error`` of
    importing it, which is done in another process."""
    return _imported(_ABOUT_ACLRUNTIME)


def pyacl() -> dict[str, Any]:
    """The ``path`` of the module ``acl``, or the ``error`` of importing it."""
    return _imported(_ABOUT_ACL)


def _imported(script: str) -> dict[str, Any]:
    try:
        result = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            env=subprocesses.environment(),
        )
    except subprocess.TimeoutExpired:
        return {"error": f"importing it takes longer than {_TIMEOUT_S} s"}
    if result.returncode:
        lines = result.stderr.strip().splitlines()
        return {"error": lines[-1] if lines else f"exit code {result.returncode}"}
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def cpu_features(cpuinfo: str | None = None) -> list[str]:
    """What this CPU computes in hardware, beyond f32."""
    if cpuinfo is None:
        try:
            cpuinfo = Path("/proc/cpuinfo").read_text()
        except OSError:
            cpuinfo = ""
    match = re.search(r"(?m)^(?:flags|Features)\s*:\s*(.*)$", cpuinfo)
    flags = set(match[1].split()) if match else set()
    return list(dict.fromkeys(name for flag, name in _CPU_FEATURES.items() if flag in flags))


def runtimes() -> dict[str, list[str]]:
    """The devices of OpenVINO and PyTorch and the providers of ONNX Runtime, where installed."""
    found: dict[str, list[str]] = {}
    try:
        import openvino

        found[f"OpenVINO {openvino.__version__.split('-')[0]}"] = openvino.Core().available_devices
    except ImportError:
        pass
    try:
        import onnxruntime

        providers = list(onnxruntime.get_available_providers())
        found[f"ONNX Runtime {onnxruntime.__version__}"] = providers
    except ImportError:
        pass
    torch = _imported(_ABOUT_TORCH) if find_spec("torch") else {}
    if "version" in torch:
        gpus = [f"cuda:{number} ({name})" for number, name in enumerate(torch["gpus"])]
        found[f"PyTorch {torch['version']}"] = [*gpus, "cpu"]
    return found


def python_fits() -> bool:
    """Whether aclruntime has been built for this Python: 3.7 to 3.12."""
    return sys.version_info < (3, 13) and platform.python_implementation() == "CPython"
