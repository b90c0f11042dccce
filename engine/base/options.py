"""Options: one frozen dataclass. `engine.cli.arguments` reads a command line.

An option has one name in all three places: field ``max_batch``, flag ``--max-batch``,
variable ``ENGINE_MAX_BATCH``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, Literal

from engine.base import assets
from engine.base.choices import AUTO, LAYOUTS, PRECISIONS, WIRES, Per, Precision, Sampling, Wire
from engine.base.constants import REFERENCES, VIEWS, Reference, Views
from engine.base.errors import UsageError

GROUPS = ("input", "live", "model", "device", "processes", "output")
DASHBOARD = "127.0.0.1:8017"  # where it is without an address
_STREAMING = (
    "max_batch",
    "max_wait_ms",
    "workers",
    "wire",
    "max_memory",
    "lease_timeout",
    "stall_timeout",
    "start_timeout",
    "grace",
    "listen",
    "keys",
    "cluster",
    "engines",
)
_DATA = ("dataset", "ann_file", "split", "limit")
_LIVE = (
    "window",
    "stride",
    "sampling",
    "crop",
    "track_memory",
    "fps",
    "per",
    "smooth",
    "threshold",
    "publish",
    "save_video",
    "metrics",
    "waiting",
)


def _option(
    default: Any,
    group: str,
    help: str,
    *,
    kind: Callable[[str], Any] = str,
    metavar: str | None = None,
    bare: str | None = None,
    choices: Sequence[str] | None = None,
    least: float = 1,
    most: float = 10**15,
) -> Any:
    assert group in GROUPS
    about = {
        "group": group,
        "help": help,
        "kind": kind,
        "metavar": metavar,
        "bare": bare,
        "choices": choices,
        "least": least,
        "most": most,
    }
    return field(default=default, metadata=about)


def parse_bytes(text: str) -> int:
    """A number of bytes: ``1000000``, ``512K``, ``512M``, ``2G`` (powers of 1024)."""
    number, unit = text.strip(), 1
    if number[-1:].upper() in "KMG" and number:
        unit = 1024 ** (1 + "KMG".index(number[-1].upper()))
        number = number[:-1]
    try:
        return int(float(number) * unit)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of bytes such as 512M"
        ) from None


def texts(text: str) -> tuple[str, ...]:
    """Several texts, one a line in a variable."""
    return tuple(part for part in text.split("\n") if part)


TYPES: dict[Any, tuple[Any, str]] = {
    texts: (tuple, "texts"),
    int: (Integral, "a whole number"),
    parse_bytes: (Integral, "a number of bytes, such as 512M,"),
    float: (Real, "a number"),
    bool: (bool, "True or False"),
    str: (str, "text"),
}


@dataclass(frozen=True)
class Options:
    """Everything that a run can be told."""

    dataset: str = _option(
        "hmdb51",
        "input",
        "demo (generated motion), hmdb51, an annotation file (.pkl, .npz, .jsonl), or a folder "
        "that converters.annotations wrote, here or elsewhere (s3://…)",
        metavar="NAME|PATH",
    )
    ann_file: str | None = _option(
        None, "input", "the annotation file of a named dataset", metavar="PATH"
    )
    split: str | None = _option(
        None,
        "input",
        "split of the annotation file (default: test1 where it has splits); `all` takes everything",
        metavar="NAME",
    )
    limit: int | None = _option(
        None, "input", "score the first N samples only", kind=int, metavar="N"
    )
    reference: Reference = _option(
        "0.24.1",
        "input",
        "mmaction2 version whose flipped clips are computed: 0.24.1 flips coordinates and draws "
        "again, 1.x mirrors the heatmaps",
        choices=REFERENCES,
    )
    tta: bool | None = _option(
        None,
        "input",
        "average twenty clips of a sample, as the reference tests (ten, and the same ten flipped), "
        "or take the first of them alone (default: twenty of a data set's, one of a live window's)",
        kind=bool,
        least=0,
    )
    source: tuple[str, ...] = _option(
        (),
        "live",
        "listen to a source instead of a data set: video:FILE, webcam:0, rtsp://…, zmq+pull://…, "
        "ws://…, jsonl:FILE, openpose:DIR, replay:FILE@RATE, demo (generated motion); several "
        "times for several",
        kind=texts,
        metavar="URI",
    )
    windows: bool = _option(
        False,
        "live",
        "cut the videos of the data set into windows, as a live source's: labels over time",
        kind=bool,
        least=0,
    )
    window: float = _option(
        1.6,
        "live",
        "seconds that a window spans: 48 frames, as evenly spaced as whole frames are",
        kind=float,
        metavar="S",
        least=0.01,
        most=3600,
    )
    stride: float = _option(
        0.4,
        "live",
        "seconds from a window to the next, rounded to an even number of its frames",
        kind=float,
        metavar="S",
        least=0.001,
        most=3600,
    )
    sampling: Sampling = _option(
        "grid",
        "live",
        "48 frames of a window that are evenly spaced and the same ones in all "
        "windows, or as the reference samples a video: a random one of each 48th of it",
        choices=("grid", "reference"),
    )
    crop: Literal["steady", "exact"] = _option(
        "steady",
        "live",
        "what a window is drawn in: a crop that stays until somebody leaves it, "
        "so that windows have most of their inner results in common and only what is new is "
        "computed; or the reference's own for each window",
        choices=("steady", "exact"),
    )
    track_memory: int | None = _option(
        None,
        "live",
        "bytes for inner results of windows: 22 MB a person at the default stride in "
        "bf16, twice that in f32; 0 keeps nothing (default: a quarter of the memory)",
        kind=parse_bytes,
        metavar="BYTES",
        least=0,
    )
    fps: float = _option(
        30.0,
        "live",
        "frames/s of sources that do not say",
        kind=float,
        metavar="N",
        least=0.1,
        most=1000,
    )
    per: Per = _option(
        "person",
        "live",
        "whom a window is about: each person, or all together",
        choices=("person", "group"),
    )
    smooth: int = _option(
        3, "live", "windows whose scores are averaged for a label", kind=int, metavar="N", most=1000
    )
    threshold: float = _option(
        0.3,
        "live",
        "a label below this score is no action",
        kind=float,
        metavar="P",
        least=0,
        most=1,
    )
    publish: str | None = _option(
        None,
        "live",
        "publish labels on a ZeroMQ PUB socket, the stream's name and JSON; off "
        "loopback this needs --keys",
        metavar="tcp://HOST:PORT",
    )
    save_video: str | None = _option(
        None,
        "live",
        "draw skeletons, ids and labels over the video of --source video:FILE, when all are known",
        metavar="OUT.mp4",
    )
    metrics: str | None = _option(
        None,
        "live",
        "serve figures for Prometheus at http://HOST:PORT/metrics",
        metavar="HOST:PORT",
    )
    waiting: int = _option(
        8,
        "live",
        "windows of a stream that wait for the device; the oldest makes room for a newer one",
        kind=int,
        metavar="N",
        most=10_000,
    )
    model: str | None = _option(
        None,
        "model",
        "an .onnx file, a checkpoint (.pth, converted once into the cache), an .om file or several "
        "(a_bs8.om,a_bs1.om: as large as the device has memory for), demo (the "
        "weights that ship), or the name of a published checkpoint (default: demo for its own "
        f"data, else {assets.DEFAULT_CHECKPOINT})",
        metavar="NAME|PATH",
    )
    gears: str | None = _option(
        None,
        "model",
        "batch sizes that an .om file without a NAME.om.json was compiled for",
        metavar="N,N,…",
    )
    layout: Literal["auto", "clips", "shared"] = _option(
        "auto",
        "model",
        "clips runs the network over whole clips, shared over every distinct frame and context "
        "of a video once; auto shares where the model's graph can be cut and its batch is free",
        choices=("auto", *LAYOUTS),
    )
    backend: str = _option(
        AUTO,
        "device",
        "runtime: auto, openvino, onnxruntime, torch (GPUs), or for an .om file acl (aclruntime) "
        "and pyacl",
        metavar="NAME",
    )
    device: str | None = _option(
        None,
        "device",
        "the runtime's own name of the device: CPU, GPU (openvino), an execution provider such as "
        "CUDAExecutionProvider (onnxruntime), cuda:1 or cpu (torch), a number (acl, torch); of "
        "numbers there may be several (0,1), which share the work",
        metavar="NAME",
    )
    precision: Literal["auto", Precision] = _option(
        AUTO,
        "device",
        "precision that the device computes in (auto: that of the file, f32 for a "
        "checkpoint); int8 takes a file made by python -m converters.quantize",
        choices=(AUTO, *PRECISIONS),
    )
    threads: int | None = _option(
        None,
        "device",
        "threads of the runtime (default: one a core: decoding takes a hundredth of the time, so "
        "it shares the cores instead of having one to itself)",
        kind=int,
        metavar="N",
        most=1024,
    )
    max_batch: int | None = _option(
        None,
        "device",
        "samples (20 clips each) that run as one batch at most (default: 4, or the next multiple "
        "of the model's fixed batch; 16 windows)",
        kind=int,
        metavar="N",
        most=1024,
    )
    max_wait_ms: float = _option(
        0.0,
        "device",
        "how long an idle device waits for a batch to fill, from its first sample",
        kind=float,
        metavar="MS",
        least=0,
        most=10**6,
    )
    workers: int | None = _option(
        None,
        "processes",
        "decode workers (default: a quarter of the cores, at least 1: rendering a sample takes a "
        "hundredth of the time a CPU needs to run it)",
        kind=int,
        metavar="N",
        most=256,
    )
    wire: Literal["auto", Wire] = _option(
        AUTO,
        "processes",
        "what workers send: each distinct heatmap frame once (its cells that are not zero) with "
        "the clip plan, the whole clip tensor (205 MB a sample), or keypoints on the canvas, for "
        "the executor to draw (auto: frames; keypoints for backend torch, whose device draws)",
        choices=(AUTO, *WIRES),
    )
    max_memory: int | None = _option(
        None,
        "processes",
        "bytes of clips in flight, such as 512M, the sender's copy and the receiver's (default: a "
        "quarter of the memory)",
        kind=parse_bytes,
        metavar="BYTES",
    )
    lease_timeout: float = _option(
        60.0,
        "processes",
        "a worker silent for so long over a sample is killed",
        kind=float,
        metavar="S",
        most=10**6,
    )
    stall_timeout: float = _option(
        300.0,
        "processes",
        "a device silent for so long over a batch is restarted",
        kind=float,
        metavar="S",
        most=10**6,
    )
    start_timeout: float = _option(
        300.0,
        "processes",
        "a process that takes longer to get ready is killed and started again, twice at most",
        kind=float,
        metavar="S",
        most=10**6,
    )
    grace: float = _option(
        10.0,
        "processes",
        "after a first SIGINT, SIGTERM or SIGHUP, what is on its way is finished for so long; a "
        "second one ends at once",
        kind=float,
        metavar="S",
        least=0,
        most=10**6,
    )
    listen: str | None = _option(
        None,
        "processes",
        "let decode workers of other machines join (python -m engine.join); off loopback this "
        "needs --keys",
        metavar="tcp://HOST[:PORT]",
    )
    keys: str | None = _option(
        None,
        "processes",
        "with --listen: only workers with a key in FOLDER may join (python -m engine.keys)",
        metavar="FOLDER",
    )
    cluster: str | None = _option(
        None,
        "processes",
        "run on a Ray cluster: local (one of this machine, for this run), auto (the one that this "
        "machine belongs to), or its address",
        metavar="local|auto|ADDRESS",
    )
    engines: int | None = _option(
        None,
        "processes",
        "engines on the cluster (default: one for each GPU or NPU where the "
        "backend runs on such, else one for each node, or for each --threads of its CPUs)",
        kind=int,
        metavar="N",
        most=100_000,
    )
    in_process: bool = _option(
        False,
        "processes",
        "run everything in this process, one sample after the other",
        kind=bool,
        least=0,
    )
    output: str | None = _option(
        None, "output", "write one JSON line a sample to FILE", metavar="FILE"
    )
    resume: str | None = _option(
        None,
        "output",
        "go on with the run that wrote FILE: samples with a record there are not run again, the "
        "others are appended; refused where data, model or preprocessing differ. A FILE that "
        "does not exist is begun",
        metavar="FILE",
    )
    scores: str | None = _option(
        None, "output", "write id [N] and scores [N, classes] to FILE", metavar="FILE.npz"
    )
    logits: str | None = _option(
        None, "output", "write id [N] and logits [N, 20, classes] to FILE", metavar="FILE.npz"
    )
    summary: str | None = _option(
        None, "output", "write the figures of the run to FILE", metavar="FILE.json"
    )
    report: str | None = _option(
        None,
        "output",
        "write a page about the run to FILE: accuracy, confusion, rates, skeletons",
        metavar="FILE.html",
    )
    dump_bin: str | None = _option(
        None,
        "output",
        "write the clip tensors (205 MB each) and labels to DIR as the published recipe's first "
        "step does, and run nothing",
        metavar="DIR",
    )
    log_json: str | None = _option(
        None,
        "output",
        "append what happens to FILE, one JSON line an event, each with the process it happened in",
        metavar="FILE",
    )
    dashboard: str | None = _option(
        None,
        "output",
        "serve a page that shows the run as it goes (without an address at "
        f"{DASHBOARD}); others than this machine's users need the token that is printed",
        metavar="HOST:PORT",
        bare=DASHBOARD,
    )
    top_k: int = _option(5, "output", "classes listed for each sample", kind=int, metavar="K")

    @property
    def views(self) -> Views:
        """Clips of a sample that are averaged."""
        tta = not (self.source or self.windows) if self.tta is None else self.tta
        return VIEWS if tta else 1

    def __post_init__(self) -> None:
        for f in fields(self):
            value, about = getattr(self, f.name), f.metadata
            if isinstance(value, os.PathLike):
                value = os.fspath(value)
                object.__setattr__(self, f.name, value)
            wanted, noun = TYPES[about["kind"]]
            if not (isinstance(value, wanted) or (value is None and f.default is None)):
                raise UsageError(f"{flag(f.name)} {value!r}: {noun} is needed")
            if isinstance(value, (int, float)) and not value >= about["least"]:
                raise UsageError(f"{flag(f.name)} {value}: must be at least {about['least']}")
            if isinstance(value, (int, float)) and not value <= about["most"]:
                raise UsageError(f"{flag(f.name)} {value}: must be at most {about['most']:,}")
            if about["choices"] and value not in about["choices"]:
                known = ", ".join(about["choices"])
                raise UsageError(f"{flag(f.name)} {value!r}: choose from {known}")
        for names, why in without_effect(self.in_process, bool(self.source), self.windows):
            for f in fields(self):
                if f.name in names and getattr(self, f.name) != f.default:
                    raise UsageError(f"{flag(f.name)} has no effect {why}; leave one out")
        if self.resume is not None and self.output not in (None, self.resume):
            raise UsageError("--resume FILE goes on writing FILE; leave --output out")
        if self.resume is not None and self.logits is not None:
            raise UsageError("--logits wants all samples, and a resumed run has not kept theirs")
        if self.engines is not None and self.cluster is None:
            raise UsageError("--engines N is for --cluster; give that as well")
        if self.cluster is not None:
            for name in ("source", "windows", "listen", "dump_bin"):
                if getattr(self, name):
                    raise UsageError(f"--cluster scores data sets; leave {flag(name)} out")
        if self.keys is not None and self.listen is None and self.publish is None:
            raise UsageError("--keys FOLDER protects --listen or --publish; give that as well")
        if self.max_wait_ms / 1e3 >= self.stall_timeout:
            raise UsageError(
                f"--max-wait-ms {self.max_wait_ms:g} is longer than --stall-timeout "
                f"{self.stall_timeout:g} allows a device to be silent"
            )


def without_effect(
    in_process: bool, source: bool, windows: bool
) -> list[tuple[Sequence[str], str]]:
    """Options that a run of such a kind has no use for, and why."""
    found: list[tuple[Sequence[str], str]] = []
    if in_process:
        found.append((_STREAMING, "with --in-process"))
    if source:
        found.append((_DATA, "with --source"))
    elif not windows:
        found.append((_LIVE, "without --source or --windows"))
    return found


def flag(name: str) -> str:
    """An option's name on the command line."""
    return "--" + name.replace("_", "-")
