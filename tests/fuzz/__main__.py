"""The command: ``python -m tests.fuzz DOOR [--inputs N] [--seed S]``.

Throws N inputs at a door, each made of the seed and its number, and says what became of them. A
finding is whatever is neither taken nor refused by an error of the engine's own: another exception,
a crash, more than 2 s, more than 512 MB. Each is kept in a file with its input, and how to throw it
again: ``--only NUMBER``. Exit code 1 where there is any.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.child import AT, HANG, MEMORY, SECONDS, made
from tests.fuzz.doors import DOORS

INPUTS = {"onnx": 10_000, "pth": 10_000}  # where others have ten times as many
_KEPT = 3  # findings of a kind
_MOST = 200  # findings, after which it ends
_ENDS = {
    -signal.SIGPROF: f"more than {SECONDS:g} s of the processor",
    -signal.SIGALRM: f"nothing for {HANG:g} s",
    -signal.SIGSEGV: "segmentation fault",
    -signal.SIGABRT: "aborted",
}
_GO_ON = 3  # exit code of a child that has grown


@dataclass
class Result:
    """What became of the inputs. `findings`: as `tests.fuzz.child` has them."""

    taken: int = 0
    refused: int = 0
    seconds: float = 0.0
    findings: list[dict[str, Any]] = field(default_factory=list)


def fuzz(door: str, seed: int, first: int, end: int) -> Result:
    """Throw the inputs of these numbers at a door, in processes of their own."""
    result, begun = Result(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder) / "at"
        at.write_bytes(AT.pack(first, 0, 0))
        while first < end and len(result.findings) < _MOST:
            command = [sys.executable, "-m", "tests.fuzz.child", door, str(seed), str(first)]
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
            child = subprocess.run(
                [*command, str(end), folder],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            result.findings += map(json.loads, child.stdout.splitlines())
            number, result.taken, result.refused = AT.unpack(at.read_bytes())
            if child.returncode > 0 and child.returncode != _GO_ON:
                raise RuntimeError(child.stderr)  # ours
            if child.returncode < 0:
                what = _ENDS.get(child.returncode, f"ended by signal {-child.returncode}")
                result.findings.append(
                    {"number": number, "what": what, "where": "", "trace": child.stderr[-6000:]}
                )
                number += 1
                at.write_bytes(AT.pack(number, result.taken, result.refused))
            first = number
    result.seconds = time.monotonic() - begun
    return result


def keep(door: str, seed: int, findings: Sequence[dict[str, Any]], folder: Path) -> Counter[str]:
    """Write a few findings of each kind. Returns how many there are."""
    kinds: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        throwing = DOORS[door](Path(place))
        for finding in findings:
            kind = f"{finding['what'].partition(':')[0]} {finding['where']}".strip()
            kinds[kind] += 1
            if kinds[kind] > _KEPT:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            number = finding["number"]
            path = folder / f"{door}-{seed}-{number}"
            again = f"python -m tests.fuzz {door} --seed {seed} --only {number}"
            path.with_suffix(".txt").write_text(
                f"{finding['what']}\n{again}\n\n{finding['trace']}", "utf-8", "backslashreplace"
            )
            path.with_suffix(throwing.suffix or ".repr").write_bytes(
                throwing.stored(made(throwing, seed, number))
            )
    return kinds


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description="Throw damaged and made-up inputs at a door of the engine.",
        epilog=f"Limits of an input: {SECONDS:g} s, {MEMORY >> 20} MB above the idle process.",
    )
    parser.add_argument("door", choices=DOORS)
    parser.add_argument("--inputs", type=int, help="how many (default 100000; onnx, pth: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="(default %(default)s)")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="the input of this number")
    parser.add_argument(
        "--findings", type=Path, default=Path("findings"), help="folder (default %(default)s)"
    )
    args = parser.parse_args(arguments)
    count = INPUTS.get(args.door, 100_000) if args.inputs is None else args.inputs
    first, end = (0, count) if args.only is None else (args.only, args.only + 1)
    result = fuzz(args.door, args.seed, first, end)
    print(
        f"{args.door}: {result.taken} taken, {result.refused} refused, "
        f"{len(result.findings)} findings in {result.seconds:.0f} s (seed {args.seed})"
    )
    for kind, times in keep(args.door, args.seed, result.findings, args.findings).most_common():
        print(f"  {times} x {kind}")
    if result.findings and args.only is not None:
        print(result.findings[0]["what"], result.findings[0]["trace"], sep="\n")
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main())
