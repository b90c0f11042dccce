"""Costs: what a sample costs in CPU time, by stage, and in bytes, by wire.

Measured on the machine it runs on, with the code that runs: videos of ``hmdb51_like``, one thread.
"""

from __future__ import annotations

import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import zmq
from onnx import helper, numpy_helper

from benchmarks import workloads
from engine.base.choices import CLIPS, KEYPOINTS, WIRES, Wire
from engine.base.constants import CLIP_SHAPE, HMDB51, JOINTS, VIEWS
from engine.base.options import Options
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.base.records import Prediction
from engine.network.recogniser import average
from engine.outputs.journal import Journal, record_json
from engine.pipeline import Pipeline
from engine.runtime.aggregator import Aggregator
from engine.runtime.scheduler import Listed, Scheduler
from engine.runtime.transport import clip_messages, messages, wire
from engine.runtime.transport.bodies import Body
from engine.runtime.transport.messages import Grant, WorkerSettings
from engine.runtime.transport.wire import Message
from engine.runtime.worker import clips_of
from engine.skeletons.clips import HeatmapClips, JointClips, sampled
from engine.skeletons.poses import PoseSequence
from engine.skeletons.samples import Sample
from engine.skeletons.sampling import clip_plan

CLASSES = len(HMDB51)
_WHOLE = 4  # samples that are measured as whole clip tensors, of 205 MB each
_SEAL = clip_messages.seal(b"secret", 1)


class Stages:
    """The stages of a sample's way, each a function that puts every sample through it once and
    returns how many samples those were."""

    def __init__(self, folder: Path, count: int) -> None:
        self._annotations = [
            workloads.drifting(n, i) for i, n in enumerate(workloads.lengths(count)[:count])
        ]
        self._poses = [PoseSequence.from_annotation(one) for one in self._annotations]
        self._drawn: list[HeatmapClips] = [one.drawn() for one in self._sampled(HMDB51_RECIPE)]
        self._leases = [
            _frames(Grant.of(1, _SEAL, "executor-0.1", one).write()) for one in self._poses
        ]
        self._messages = {kind: self._clips(kind) for kind in WIRES}
        self._frames = {kind: list(map(_frames, self._messages[kind])) for kind in WIRES}
        rng = np.random.RandomState(workloads.SEED)
        self._logits = rng.normal(size=(VIEWS, CLASSES)).astype(np.float32)
        scores, ms = (
            average(self._logits),
            dict.fromkeys(("assign", "decode", "transport", "queue", "infer", "total"), 1.234567),
        )
        self._record = Prediction(1, "hmdb51_like_001", 1, self._logits, scores, ms)
        self._journal = Journal(folder / "records.jsonl")

    def all(self) -> dict[str, Callable[[], int]]:
        """By name; the first word says which process does it."""
        found: dict[str, Callable[[], int]] = {
            "driver: check poses": lambda: self._each(PoseSequence.from_annotation),
            "driver: check, lease and hear": self._keep_books,
            "driver: average one clip": lambda: self._repeat(lambda: average(self._logits[:1])),
            "driver: average 20 clips": lambda: self._repeat(lambda: average(self._logits)),
            "driver: write the record": lambda: self._repeat(self._write),
            "worker: decode the lease": self._open_leases,
            "worker: plan a length that is new": lambda: sum(
                clip_plan.__wrapped__(one.total_frames, HMDB51_RECIPE) is not None
                for one in self._poses
            ),
            "worker: place one clip": lambda: len(self._sampled(HMDB51_RECIPE.one_view)),
            "worker: place 20 clips": lambda: len(self._sampled(HMDB51_RECIPE)),
            "worker: place and draw 20 clips": lambda: sum(
                one.drawn() is not None for one in self._sampled(HMDB51_RECIPE)
            ),
            "worker: gather clips": lambda: sum(
                len(one.tensor()) > 0 for one in self._drawn[:_WHOLE]
            ),
        }
        for kind in WIRES:
            found[f"worker: encode {kind}"] = self._encoding(kind)
            found[f"executor: decode {kind}"] = self._decoding(kind)
            found[f"both: carry {kind}"] = self._carrying(kind, "ipc")
            found[f"both: carry {kind} between nodes, encrypted"] = self._carrying(kind, "tcp")
        return found

    def sizes(self) -> dict[str, float]:
        """Mean bytes of a sample on each wire, of the message that leases it, and of its logits."""
        found: dict[str, float] = {
            kind: statistics.fmean(map(_size, frames)) for kind, frames in self._frames.items()
        }
        found["lease"] = statistics.fmean(map(_size, self._leases))
        found["logits"] = float(self._logits.nbytes)
        return found

    def close(self) -> None:
        """Close what is open."""
        self._journal.__exit__(None, None, None)

    # What is measured

    def _each(self, action: Callable[[Mapping[str, Any]], object]) -> int:
        for annotation in self._annotations:
            action(annotation)
        return len(self._annotations)

    def _repeat(self, action: Callable[[], object]) -> int:
        for _ in self._poses:
            action()
        return len(self._poses)

    def _write(self) -> None:
        self._journal.append(record_json(self._record, HMDB51, 5))

    def _keep_books(self) -> int:
        """All that the driver does with samples of one clip, less sockets and processes."""
        samples = [Sample(i, f"s{i}", one) for i, one in enumerate(self._annotations)]
        aggregator, settings = Aggregator(), WorkerSettings(HMDB51_RECIPE.one_view, KEYPOINTS)
        scheduler = Scheduler(
            Listed(samples), CLASSES, aggregator, settings, b"secret", budget=1 << 40
        )
        for _ in samples:
            list(scheduler.refill())
            granted = scheduler.grant(0.0, ["worker-0.1"], ["executor-0.1"])
            assert granted is not None
            wire.encode(granted[1].write())
            lease = granted[1].lease
            bodies: list[tuple[str, Body]] = [
                ("worker-0.1", messages.Decoding(lease)),
                ("worker-0.1", messages.Sent(lease, 0.1, 1000)),
                ("executor-0.1", messages.Queued(lease)),
                ("executor-0.1", messages.Running((lease,))),
                ("executor-0.1", messages.Result(lease, 0.1, 0, self._logits[:1])),
            ]
            for name, body in bodies:
                said: Any = messages.from_child(wire.decode(_frames(body.write())))
                scheduler.hear(name, said, 0.0)
        return len(samples)

    def _open_leases(self) -> int:
        for frames in self._leases:
            Grant.read(wire.decode(frames)).poses()
        return len(self._leases)

    def _encoding(self, kind: Wire) -> Callable[[], int]:
        def encode() -> int:
            for message in self._messages[kind]:
                wire.encode(message)
            return len(self._messages[kind])

        return encode

    def _decoding(self, kind: Wire) -> Callable[[], int]:
        def decode() -> int:
            for frames in self._frames[kind]:
                clip_messages.read(wire.decode(frames)).clips(HMDB51_RECIPE)
            return len(self._frames[kind])

        return decode

    def _carrying(self, kind: Wire, transport: str) -> Callable[[], int]:
        """Both ends of a socket, their threads included."""

        def carry() -> int:
            with tempfile.TemporaryDirectory() as folder, zmq.Context() as context:
                inbox, outlet = context.socket(zmq.PULL), context.socket(zmq.PUSH)
                if transport == "tcp":
                    _encrypt(inbox, outlet)
                    inbox.bind("tcp://127.0.0.1:*")
                else:
                    inbox.bind(f"ipc://{folder}/socket")
                outlet.connect(inbox.getsockopt_string(zmq.LAST_ENDPOINT))
                for frames in self._frames[kind]:
                    outlet.send_multipart(frames, copy=False)
                    inbox.recv_multipart(copy=False)
                inbox.close()
                outlet.close()
            return len(self._frames[kind])

        return carry

    # What they are measured on

    def _sampled(self, recipe: Recipe) -> list[JointClips]:
        return [sampled(one, recipe) for one in self._poses]

    def _clips(self, kind: Wire) -> list[Message]:
        settings = WorkerSettings(HMDB51_RECIPE, kind)
        chosen = self._poses[:_WHOLE] if kind == CLIPS else self._poses
        clips = [clips_of(one, settings) for one in chosen]
        return [clip_messages.of_clips(1, _SEAL, one).write() for one in clips]


def _frames(message: Message) -> list[memoryview]:
    """A message as it comes out of a socket."""
    return [memoryview(frame).cast("B") for frame in wire.encode(message)]


def _size(frames: list[memoryview]) -> int:
    return sum(frame.nbytes for frame in frames)


def _encrypt(server: zmq.Socket[bytes], client: zmq.Socket[bytes]) -> None:
    public, secret = zmq.curve_keypair()
    server.curve_server, server.curve_secretkey = True, secret
    client.curve_serverkey = public
    client.curve_publickey, client.curve_secretkey = zmq.curve_keypair()


def by_stage(count: int, rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """CPU seconds a sample of every stage, one value a round, interleaved; and the bytes."""
    with tempfile.TemporaryDirectory() as folder:
        stages = Stages(Path(folder), count)
        found: dict[str, list[float]] = {name: [] for name in stages.all()}
        for turn in range(rounds + 1):
            for name, stage in stages.all().items():
                start = time.process_time()
                samples = stage()
                passed = time.process_time() - start
                if turn:  # the first one warms up
                    found[name].append(passed / samples)
        sizes = stages.sizes()
        stages.close()
    return found, sizes


def in_a_run(count: int, rounds: int) -> dict[str, list[float]]:
    """CPU seconds a sample of the whole driver and of the whole worker, sockets and waiting
    included, in a run whose device has next to nothing to do: one clip a sample, placed and not
    drawn, and a network that looks at one row."""
    found: dict[str, list[float]] = {"driver": [], "worker": []}
    with tempfile.TemporaryDirectory() as folder:
        model, data = Path(folder) / "row.onnx", Path(folder) / "some.pkl"
        write_network(model)
        lengths = workloads.lengths(count)[:count]
        data.write_bytes(pickle.dumps([workloads.drifting(n, i) for i, n in enumerate(lengths)]))
        options = Options(
            dataset=str(data),
            model=str(model),
            backend="onnxruntime",
            threads=1,
            workers=1,
            wire="keypoints",
            layout="clips",
            tta=False,
        )
        for turn in range(rounds + 1):
            with Pipeline(options) as pipeline:
                records = iter(pipeline)
                for _ in range(count // 2):  # the worker's plans are new to it
                    assert isinstance(next(records), Prediction)
                [pid] = [
                    about["pid"]
                    for about in pipeline.processes()
                    if about["process"].startswith("worker")
                ]
                driver, its = time.process_time(), _cpu_seconds(pid)
                rest = sum(isinstance(next(records), Prediction) for _ in range(count - count // 2))
                driver, its = time.process_time() - driver, _cpu_seconds(pid) - its
                if turn:  # the driver's plans are new to it in the first one
                    found["driver"].append(driver / rest)
                    found["worker"].append(its / rest)
    return found


def _cpu_seconds(pid: int) -> float:
    """Seconds that all threads of a process have had a core."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def write_network(path: Path) -> None:
    """Logits that are the first numbers of a clip."""
    about = {
        "starts": [0] * 4,
        "ends": [CLASSES // JOINTS, 1, 1, JOINTS],
        "axes": [3, 4, 5, 2],
        "shape": [-1, CLASSES],
    }
    nodes = [
        helper.make_node("Slice", ["clips", "starts", "ends", "axes"], ["row"]),
        helper.make_node("Reshape", ["row", "shape"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "row",
        [helper.make_tensor_value_info("clips", onnx.TensorProto.FLOAT, ["n", VIEWS, *CLIP_SHAPE])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in about.items()],
    )
    imports = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), str(path))
