"""Live soak: streams that come and go for long, and in the middle of it a liar and a flood.

``python -m benchmarks.live_soak --minutes 20`` feeds ``engine.run --source zmq+pull://…`` with
demo skeletons at 30 frames/s, each stream over a socket of its own. In the middle third one more
peer lies (jumping clocks, frames twice and out of order, changing sizes, garbage) and another
sends as fast as it is taken. Reports latencies by third and memory over time, and exits with 1
where a stream's labels are not those of a run over the same skeletons alone.
"""

from __future__ import annotations

import argparse
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import zmq

from benchmarks.measurement import publish
from benchmarks.memory import resident
from engine import Options, Stream
from engine.base import host
from engine.base.progress import SampleProgress
from engine.skeletons.samples import Sample
from engine.sources.dataset import open_dataset
from engine.sources.pose_frames import PoseFrame
from engine.sources.recorded import frames_of, recorded

_RATE = 30.0
_SAMPLES = 24  # that streams show
_LONGEST_PAUSE_S = 6.0
_SILENCE_S = 15.0  # at the end: streams that were cut off end by it
_THIRDS = ("alone", "with a liar and a flood", "alone again")
Key = tuple[str, int, int]  # sample, person, last frame of a window


def main() -> None:
    """Run, report, and exit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--streams", type=int, default=12)
    parser.add_argument("--stride", type=float, default=2.0, help="seconds between windows")
    parser.add_argument(
        "--max-age",
        type=float,
        default=10.0,
        help="as of engine.run; more than its 2 s, as a window that is left out is one missing",
    )
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="keep everything in a file")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="memory over time")
    args = parser.parse_args()
    results = soak(args)
    print(_report(results))
    publish(args.json, results)
    if args.plot is not None:
        from benchmarks.figures import live_memory

        live_memory(results["memory"], 60 * args.minutes, args.plot)
    sys.exit(any(results[what] for what in ("missing", "different", "unknown", "exit_code")))


def soak(args: argparse.Namespace) -> dict[str, Any]:
    """Feed the engine for so many minutes, and compare."""
    samples = open_dataset("demo", None, "train", _SAMPLES).samples
    expected = _expected(args, samples)
    with tempfile.TemporaryDirectory() as folder, _engine(args, Path(folder)) as (process, port):
        crew = _Crew(args, samples, port)
        memory = crew.run(process.pid)
        time.sleep(_SILENCE_S)
        process.terminate()
        code = process.wait(60)
        lines = (Path(folder) / "labels.jsonl").read_bytes().splitlines()
        summary = orjson.loads((Path(folder) / "summary.json").read_bytes())
    labels = [orjson.loads(line) for line in lines]
    return {
        "machine": host.describe(),
        "arguments": {k: str(v) for k, v in vars(args).items()},
        "visits": len(crew.visits),
        **_compared(crew, labels, expected),
        "exit_code": 0 if code == 130 else code,  # it was interrupted
        "summary": summary,
        "memory": memory,
    }


def _expected(args: argparse.Namespace, samples: list[Sample]) -> dict[Key, Any]:
    """Scores of every window of every sample, of a recording of them."""
    options = Options(model="demo", stride=args.stride, precision=args.precision, windows=True)
    with Stream(options, [recorded("demo", samples)]) as stream:
        return {(label.stream, int(str(label.who)), label.last): label.scores for label in stream}


@contextmanager
def _engine(args: argparse.Namespace, folder: Path) -> Iterator[tuple[Any, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [
        sys.executable,
        "-m",
        "engine.run",
        "--source",
        f"zmq+pull://127.0.0.1:{port}",
        "--model",
        "demo",
        "--stride",
        args.stride,
        "--max-age",
        args.max_age,
        "--precision",
        args.precision,
        "--output",
        folder / "labels.jsonl",
        "--summary",
        folder / "summary.json",
    ]
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=out)
        try:
            while b"backend" not in (folder / "out").read_bytes():
                if process.poll() is not None:
                    raise SystemExit((folder / "out").read_text())
                time.sleep(0.1)
            yield process, port
        finally:
            process.kill()
            process.wait()


class _Crew:
    """Those who send. `visits`: by the stream's name the sample that it showed, and the third
    it was there in (the middle one, if in that as well)."""

    def __init__(self, args: argparse.Namespace, samples: list[Sample], port: int) -> None:
        self._args, self._samples = args, samples
        self._context = zmq.Context()
        self._outlets: list[zmq.Socket[bytes]] = []
        self._endpoint = f"tcp://127.0.0.1:{port}"
        self._begun = time.monotonic()
        self._over = self._begun + 60 * args.minutes
        self.visits: dict[str, tuple[str, int]] = {}

    @property
    def third(self) -> int:
        passed = (time.monotonic() - self._begun) / (self._over - self._begun)
        return min(2, int(3 * passed))

    def run(self, engine: int) -> list[tuple[float, int]]:
        """Until the time is over. Returns (seconds, bytes RSS of the engine's processes)."""
        targets = [*(self._stream for _ in range(self._args.streams)), self._liar, self._flood]
        threads = [threading.Thread(target=t, args=(n,)) for n, t in enumerate(targets)]
        for thread in threads:
            thread.start()
        memory = []
        with SampleProgress("seconds", round(60 * self._args.minutes)) as progress:
            while (now := time.monotonic()) < self._over:
                memory.append((now - self._begun, resident(engine)))
                progress.update(round(now - self._begun), _THIRDS[self.third])
                time.sleep(1)
        for thread in threads:
            thread.join()
        self._context.destroy(linger=1000)
        return memory

    def _stream(self, number: int) -> None:
        """Show a sample at its speed, pause, come back under another name."""
        rng = random.Random(f"{self._args.seed} {number}")
        outlet = self._outlet()
        while time.monotonic() < self._over:
            sample = rng.choice(self._samples)
            name = f"camera-{number}.{len(self.visits)}"
            third, begun = self.third, time.monotonic()
            for frame in frames_of(sample, _RATE):
                assert isinstance(frame, PoseFrame)
                time.sleep(max(0.0, begun + frame.frame / _RATE - time.monotonic()))
                if time.monotonic() > self._over:
                    break
                outlet.send(_spelt(name, frame))
            if frame.end:  # it was not cut off
                worst = 1 if 1 in (third, self.third) else third
                self.visits[name] = sample.id, worst
            time.sleep(rng.uniform(0, _LONGEST_PAUSE_S))

    def _liar(self, number: int) -> None:
        rng = random.Random(f"{self._args.seed} liar")
        frames = [f for f in frames_of(self._samples[0], _RATE) if isinstance(f, PoseFrame)]
        outlet = self._outlet()
        for message in self._in_the_middle():
            frame = rng.choice(frames)
            lie = orjson.loads(_spelt(rng.choice(["liar", "liar's other"]), frame))
            lie["frame"] = frame.frame + rng.choice([0, 0, 0, 5000, -5000, message])
            lie["t"] = rng.choice([0.0, 1e12, -5.0, time.time()])
            lie["size"] = rng.choice([[640, 480], [640, 480], [64, 64], [0, 0], [-1, "x"]])
            lie["end"] = rng.random() < 0.05
            garbage = [b"", b"{", b"\xff" * 100, b"[" * 1000, orjson.dumps({**lie, "people": 3})]
            outlet.send(rng.choice([orjson.dumps(lie)] * 3 + garbage))
            time.sleep(1 / _RATE)

    def _flood(self, number: int) -> None:
        frames = [f for f in frames_of(self._samples[1], _RATE) if isinstance(f, PoseFrame)]
        outlet = self._outlet()
        for message in self._in_the_middle():
            frame = frames[message % len(frames)]
            kpts = frame.people[0].kpts if frame.people else frames[0].people[0].kpts
            crowd = [{"id": who, "kpts": kpts + np.float32(who)} for who in range(20)]
            line = {
                "stream": "flood",
                "frame": message,
                "t": time.time(),
                "size": frame.size,
                "rate": _RATE,
                "people": crowd,
            }
            try:
                outlet.send(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY))
            except zmq.Again:
                continue

    def _in_the_middle(self) -> Iterator[int]:
        while self.third == 0:
            time.sleep(0.1)
        message = 0
        while self.third == 1:
            yield message
            message += 1

    def _outlet(self) -> zmq.Socket[bytes]:
        outlet: zmq.Socket[bytes] = self._context.socket(zmq.PUSH)
        outlet.setsockopt(zmq.SNDTIMEO, 1000)
        outlet.connect(self._endpoint)
        self._outlets.append(outlet)
        return outlet


def _spelt(stream: str, frame: PoseFrame) -> bytes:
    people = [{"id": person.id, "kpts": person.kpts} for person in frame.people]
    line = {
        "stream": stream,
        "frame": frame.frame,
        "t": frame.t,
        "size": frame.size,
        "rate": frame.rate,
        "people": people,
        "end": frame.end,
    }
    return orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY)


def _compared(
    crew: _Crew, labels: list[dict[str, Any]], expected: dict[Key, Any]
) -> dict[str, Any]:
    """Windows of whole visits that have no label, another one, or that nobody expected; and
    milliseconds to the labels, by third."""
    found: dict[tuple[str, int, int], dict[str, Any]] = {
        (label["stream"], int(label["who"]), label["last"]): label
        for label in labels
        if label["stream"] in crew.visits
    }
    wanted = {
        (name, who, last): expected[sample, who, last]
        for name, (sample, _) in crew.visits.items()
        for known, who, last in expected
        if known == sample
    }
    same = {
        key
        for key in wanted
        if key in found and np.array_equal(np.float32(found[key].get("scores")), wanted[key])
    }
    times: list[list[float]] = [[], [], []]
    for (name, _, _), label in found.items():
        times[crew.visits[name][1]].append(label["latency_ms"])
    return {
        "windows": len(wanted),
        "missing": [str(key) for key in wanted if key not in found],
        "different": [str(key) for key in wanted if key in found and key not in same],
        "unknown": [str(key) for key in found if key not in wanted],
        "latency_ms": [
            {"median": statistics.median(t), "p99": float(np.percentile(t, 99)), "labels": len(t)}
            for t in times
            if t
        ],
        "others": len(labels) - len(found),
    }


def _report(results: dict[str, Any]) -> str:
    sizes = [size for _, size in results["memory"]]
    third = max(1, len(sizes) // 3)
    peaks = [max(sizes[n * third : (n + 1) * third], default=0) / 1e6 for n in range(3)]
    summary = results["summary"]
    [source] = summary["sources"].values()
    rows = [
        f"visits     {results['visits']}, {results['windows']} windows",
        f"missing    {len(results['missing'])}",
        f"different  {len(results['different'])}",
        f"unknown    {len(results['unknown'])}",
        f"others     {results['others']} labels of liar, flood and visits that were cut off",
        f"messages   {source['taken']} taken, {source['refused']} refused, {source['lost']} lost",
        f"dropped    {summary['windows']['dropped']} windows, of liar and flood where none above "
        "is missing",
        "memory     peaks by third " + ", ".join(f"{n:.0f} MB" for n in peaks) + " (RSS)",
    ]
    for name, about in zip(_THIRDS, results["latency_ms"], strict=False):
        rows.append(
            f"latency    {about['median']:.0f} ms median, {about['p99']:.0f} ms p99, "
            f"{about['labels']} labels {name}"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
