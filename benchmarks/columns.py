"""Data larger than memory: what its conversion and a pass over it take, beside the file itself.

``python -m benchmarks.columns --megabytes 3000`` writes an annotation file of that size (two
persons, 150 frames, float16), converts it, and reads the poses of every sample from the
columns and from the file, each in a process of its own. Peaks are resident memory, mapped
files included; growth is above the same process after the same work on one annotation. With
``--model`` eight samples of either are scored by the engine, too.
"""

from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.measurement import publish
from benchmarks.memory import PeakMemory
from engine.base.host import peak_memory
from engine.skeletons.samples import ANY_CLASSES
from engine.sources.dataset import open_dataset

_PERSONS, _FRAMES = 2, 150
_BYTES = {"pkl": 31_000, "jsonl": 92_000}  # an annotation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=300, help="size of the file, about")
    parser.add_argument("--form", choices=_BYTES, default="pkl", help="of the file")
    parser.add_argument("--folder", type=Path, help="where files may be (default: a temporary one)")
    parser.add_argument("--model", help="also run the engine with it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step is not None:
        print(orjson.dumps(_measured(*args.step)).decode())
        return
    with tempfile.TemporaryDirectory(prefix="posec3d-", dir=args.folder) as name:
        found = _all(Path(name), args.megabytes * 10**6, args.form, args.model)
    for step, figures in found.items():
        print(f"{step:20} {figures}")
    publish(args.json, found)


def _all(folder: Path, size: int, form: str, model: str | None) -> dict[str, Any]:
    one, many = folder / f"one.{form}", folder / f"many.{form}"
    _write(one, 1)
    # in a process of its own, since pickle keeps all that it wrote
    _step("write", one, many, str(size // _BYTES[form]))
    found: dict[str, Any] = {"file": many.stat().st_size, "annotations": size // _BYTES[form]}
    found["converting"] = _step("convert", one, many)
    columns = [path.with_suffix("") for path in (one, many)]
    found["columns"] = sum(path.stat().st_size for path in columns[1].iterdir())
    found["streaming"] = _step("pass", *columns)
    found["the file itself"] = _step("pass", one, many)
    if model is not None:
        found["a run, columns"] = _run(columns[1], model)
        found["a run, the file"] = _run(many, model)
    return found


def _step(name: str, one: Path, many: Path, count: str = "") -> dict[str, float]:
    """Figures of a step in a process of its own."""
    step = f"{name}{count}", str(one), str(many)
    command = [sys.executable, "-m", "benchmarks.columns", "--step", *step]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    figures: dict[str, float] = orjson.loads(output.splitlines()[-1])
    return figures


def _measured(name: str, one: str, many: str) -> dict[str, float]:
    """What `many` takes above `one`. Seconds; bytes."""
    if name.startswith("write"):
        _write(Path(many), int(name.removeprefix("write")))
        return {}
    work: Callable[[str], None] = _pass if name == "pass" else _convert
    work(one)
    before, started = peak_memory(), time.monotonic()
    work(many)
    peak = peak_memory()
    return {"seconds": time.monotonic() - started, "peak": peak, "growth": peak - before}


def _pass(dataset: str) -> None:
    for sample in open_dataset(dataset).samples:
        sample.poses(ANY_CLASSES)


def _convert(source: str) -> None:
    from converters.annotations import main

    if main([source, str(Path(source).with_suffix(""))]):
        raise SystemExit("the conversion failed")


def _run(dataset: Path, model: str) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "engine.run",
        "--dataset",
        dataset,
        "--model",
        model,
        "--limit",
        "8",
    ]
    started = time.monotonic()
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL)
    with process, PeakMemory(process.pid) as memory:
        process.wait()
    return {"seconds": time.monotonic() - started, "peak": memory.peak}


def _annotations(count: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(51)
    shape = _PERSONS, _FRAMES, 17
    keypoint = rng.uniform(20, 200, (*shape, 2)).astype(np.float16)
    score = rng.uniform(0.3, 1, shape).astype(np.float16)
    for number in range(count):
        yield {
            "frame_dir": f"video_{number}",
            "label": number % 51,
            "img_shape": (240, 320),
            "total_frames": _FRAMES,
            "keypoint": keypoint + np.float16(number % 64),
            "keypoint_score": score.copy(),
        }


def _write(path: Path, count: int) -> None:
    with path.open("wb") as target:
        if path.suffix == ".pkl":
            pickle.dump(list(_annotations(count)), target)
            return
        for one in _annotations(count):
            lists = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in one.items()}
            target.write(orjson.dumps(lists, option=orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    main()
