"""What a sample weighs on each wire: ``python -m benchmarks.transport``.

For videos of 30, 90 and 300 frames and one person: bytes a sample, and how many such messages
a second one process passes to another through the same sockets and code as a worker and
an executor use (nothing rendered, nothing inferred). The copies are those of the array
bytes in user space; the kernel's two (into the socket and out of it) come on top.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from pathlib import Path

import multiprocess
import zmq

from benchmarks import workloads
from benchmarks.measurement import publish
from engine.base.choices import WIRES, Wire
from engine.base.private import private_directory
from engine.base.recipe import HMDB51_RECIPE
from engine.runtime.transport import clip_messages, wire
from engine.runtime.transport.messages import WorkerSettings
from engine.runtime.transport.wire import Message
from engine.runtime.worker import clips_of
from engine.skeletons.poses import PoseSequence

LENGTHS = (30, 90, 300)
# user-space copies of a sample's array bytes after rendering, by wire and place
COPIES = {
    "frames": ("0", "1 (into the device's buffer)"),
    "clips": ("1 (gather)", "1 (into the device's buffer)"),
    "keypoints": ("0", "drawn, 1 (into the device's buffer)"),
}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transport", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    cases = [(name, length) for name in WIRES for length in LENGTHS]
    rates: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
    for _ in range(args.rounds):
        for case in cases:
            rates[case].append(_messages_per_second(*case, args.seconds))
    print("wire      frames   MB/sample  messages/s  copies by worker, executor")
    rows = []
    for (name, length), values in rates.items():
        size, rate = _message(name, length).nbytes, statistics.median(values)
        print(f"{name:9} {length:6} {size / 1e6:11.2f} {rate:11.1f}  {', '.join(COPIES[name])}")
        rows.append({"wire": name, "frames": length, "bytes": size, "messages_per_s": values})
    publish(args.json, {"transport": rows})


def _messages_per_second(name: Wire, length: int, seconds: float) -> float:
    directory = private_directory()
    endpoint = f"ipc://{directory}/executor"
    context = zmq.Context()
    inbox = context.socket(zmq.PULL)
    wire.limit(inbox, clip_messages.most_nbytes(HMDB51_RECIPE))
    inbox.setsockopt(zmq.RCVHWM, 1)
    inbox.bind(endpoint)
    sender = multiprocess.get_context("spawn").Process(
        target=_send, args=(endpoint, name, length), daemon=True
    )
    sender.start()
    try:
        if not inbox.poll(60_000):
            raise SystemExit("the sending process did not start within a minute")
        wire.receive(inbox)
        count, start = 0, time.monotonic()
        while time.monotonic() - start < seconds:
            if inbox.poll(10_000):
                _, message = wire.receive(inbox)
                count += message.nbytes > 0
        return count / (time.monotonic() - start)
    finally:
        sender.kill()
        sender.join()
        context.destroy(linger=0)
        shutil.rmtree(directory)


def _message(name: Wire, length: int) -> Message:
    """What a worker sends for a video of one person."""
    poses = PoseSequence.from_annotation(workloads.drifting(length, 0))
    clips = clips_of(poses, WorkerSettings(HMDB51_RECIPE, name))
    return clip_messages.of_clips(1, "", clips).write()


def _send(endpoint: str, name: Wire, length: int) -> None:
    outlet = zmq.Context().socket(zmq.PUSH)
    outlet.setsockopt(zmq.SNDHWM, 1)
    outlet.connect(endpoint)
    frames_on_wire = wire.encode(_message(name, length))
    while True:
        outlet.send_multipart(frames_on_wire, copy=False)


if __name__ == "__main__":
    main()
