"""Options: one frozen dataclass, a field an option. `engine.cli.arguments` reads a command line.

An option has one name in all three places: field ``max_batch``, flag ``--max-batch``, variable
``ENGINE_MAX_BATCH``. What else there is to know of it is said at its field, in the terms of
`engine.base.option_field.About`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from typing import Literal, get_args

from engine.base.choices import (
    AUTO,
    COORDINATES,
    FASTEST,
    LAYOUTS,
    PRECISIONS,
    WIRES,
    Coordinates,
    Crop,
    Layout,
    Per,
    Precision,
    Sampling,
    Wire,
)
from engine.base.constants import REFERENCES, Reference
from engine.base.errors import UsageError
from engine.base.option_field import (
    about,
    check_values,
    comma_separated,
    flag,
    keys_below,
    of_uris,
    one_path,
    option,
    parse_bytes,
    parse_clips,
    texts,
)
from engine.base.published import DEFAULT_CHECKPOINT
from engine.base.run_kinds import without_effect

_CLIPS = ("all", "certain", "adaptive")
DASHBOARD = "127.0.0.1:8017"  # where it is without an address

_input = partial(option, "input", dump=True)
_live = partial(option, "live", only="live")
_model = partial(option, "model", dump=True)
_device = partial(option, "device")
_processes = partial(option, "processes", only="processes")
_output = partial(option, "output")


@dataclass(frozen=True)
class Options:
    """Everything that a run can be told."""

    dataset: str = _input(
        "hmdb51",
        "demo (generated motion), the name of a published dataset (hmdb51, …; --list), an "
        "annotation file (.pkl, .npz, .json, .jsonl), a folder that converters.annotations wrote, "
        "here or elsewhere (s3://…), poses that another program wrote (OpenPose, AlphaPose, …), or "
        "a video, which is what --source video:FILE takes",
        metavar="NAME|PATH",
        only="dataset",
        reads=one_path,
    )
    ann_file: str | None = _input(
        None,
        "the annotation file of a named dataset",
        metavar="PATH",
        only="dataset",
        reads=one_path,
    )
    split: str | None = _input(
        None,
        "split of the annotation file (default: the one that the model was tested on, else test1, "
        "where it has splits); `all` takes everything",
        metavar="NAME",
        only="dataset",
    )
    size: str | None = _input(
        None,
        "width and height of the picture that recorded poses are of, for files that do not say it",
        metavar="WxH",
    )
    joints: str | None = _input(
        None,
        "how recorded poses number their joints, where 17 are not COCO's, say: h36m17, mpii16, "
        "body25, openpose18, halpe26, … (default: what the file says, else by their number)",
        metavar="LAYOUT",
    )
    limit: int | None = _input(
        None, "score the first N samples only", kind=int, metavar="N", only="dataset"
    )
    coordinates: Coordinates = _input(
        AUTO,
        "what those of joints are: pixels, or shares of the picture, 0 to 1 (auto: shares where "
        "everybody would be within three pixels of the corner otherwise, which is then said)",
        choices=COORDINATES,
    )
    reference: Reference | None = _input(
        None,
        "mmaction2 version whose flipped clips are computed: 0.24.1 flips coordinates and draws "
        "again, 1.x mirrors the heatmaps (default: what the model file says, else 0.24.1)",
        choices=REFERENCES,
    )
    tta: bool | None = _input(
        None,
        "average twenty clips of a sample, as the reference tests (ten, and the same ten flipped), "
        "or draw one alone, in a crop of its own (--clips 1 is the first of the twenty; default: "
        "twenty of a data set's, one of a live window's)",
        kind=bool,
        dump=False,
    )
    clips: str | int = _input(
        "all",
        "how many of a sample's twenty clips are run: all, as the reference tests; certain: until "
        "the best class cannot change any more; adaptive: until it hardly will (--agreement); N: "
        "the first N, plain and flipped in turn",
        kind=parse_clips,
        metavar="all|certain|adaptive|N",
        only="averaged",
        dump=False,
    )
    agreement: float = _input(
        0.995,
        "the share of samples, 0.5 to 1, of which --clips adaptive is to give the best class that "
        "all clips do: more of them takes more clips (python -m converters.calibrate fits it)",
        metavar="P",
        within=(0.5, 1),
        needs=("clips=adaptive",),
        dump=False,
    )
    per: Per | None = _input(
        None,
        "whom an answer is about: each person, or all together (default: all of a data set's "
        "video, each person of a live source or with --windows)",
        choices=get_args(Per),
    )
    source: tuple[str, ...] = _live(
        (),
        "listen to a source instead of a data set: video:FILE (or FILE.mp4), webcam:0, rtsp://…, "
        "rtmp://…, http://…, zmq+pull://…, ws://…, jsonl:FILE, poses:PATH, replay:FILE@RATE, "
        "demo (generated motion), or a path of poses that another program wrote; several times "
        "for several",
        kind=texts,
        metavar="URI",
        only=None,
        cluster=False,
        reads=of_uris,
    )
    windows: bool = _live(
        False,
        "cut the videos of the data set into windows, as a live source's: labels over time",
        only=None,
        cluster=False,
    )
    window: float = _live(
        1.6,
        "seconds that a window spans: the frames of a clip (48 for HMDB51), as evenly spaced as "
        "whole frames are",
        metavar="S",
        within=(0.01, 3600),
    )
    stride: float = _live(
        0.4,
        "seconds from a window to the next, rounded to an even number of its frames",
        metavar="S",
        within=(0.001, 3600),
    )
    sampling: Sampling = _live(
        "grid",
        "frames of a window that are evenly spaced and the same ones in all windows, or as the "
        "reference samples a video: a random one of each 48th of it (where clips have 48)",
        choices=get_args(Sampling),
    )
    crop: Crop = _live(
        "steady",
        "what a window is drawn in: a crop that stays until somebody leaves it, "
        "so that windows have most of their inner results in common and only what is new is "
        "computed; or the reference's own for each window",
        choices=get_args(Crop),
    )
    track_memory: int | None = _live(
        None,
        "bytes for inner results of windows: 22 MB a person at the default stride in "
        "bf16, twice that in f32; 0 keeps nothing (default: a quarter of the memory)",
        kind=parse_bytes,
        metavar="BYTES",
        within=(0, 10**15),
    )
    fps: float = _live(
        30.0,
        "frames/s of sources that do not say, recorded ones too: their times and windows follow",
        metavar="N",
        within=(0.1, 1000),
    )
    smooth: int = _live(
        3, "windows whose scores are averaged for a label", metavar="N", within=(1, 1000)
    )
    threshold: float = _live(
        0.3, "a label below this score is no action", metavar="P", within=(0, 1)
    )
    segments: str | None = _live(
        None,
        "write who did what from when to when to FILE: a line for each segment in which somebody's "
        "label stays, when it has ended; formats as of --output",
        metavar="FILE",
        writes="results",
    )
    publish: str | None = _live(
        None,
        "publish labels on a ZeroMQ PUB socket, the stream's name and JSON; off "
        "loopback this needs --keys",
        metavar="tcp://HOST:PORT",
    )
    save_video: str | None = _live(
        None,
        "draw skeletons, ids and labels over the video of --source video:FILE, when all are known",
        metavar="OUT.mp4",
        writes="file",
        only="sources",
    )
    metrics: str | None = _live(
        None, "serve figures for Prometheus at http://HOST:PORT/metrics", metavar="HOST:PORT"
    )
    waiting: int = _live(
        8,
        "windows of a live stream that wait for the device; the oldest makes room for a newer one",
        metavar="N",
        within=(1, 10_000),
        only="sources",
    )
    max_age: float = _live(
        2.0,
        "seconds from the last frame of a live stream's window to its label: what would be older "
        "is left out, and the stride grows while the device cannot keep up; recorded sources "
        "lose nothing",
        metavar="S",
        within=(0.05, 3600),
        only="sources",
    )
    model: str | None = _model(
        None,
        "an .onnx file, a checkpoint (.pth, converted once into the cache), an .om file or several "
        "(a_bs8.om,a_bs1.om: as large as the device has memory for; so are .onnx files of "
        "converters.onnx2om --layout shared given), demo (the "
        "weights that ship), or the name of a published checkpoint (--list; default: the one for a "
        "named dataset, demo for its own data, "
        f"else {DEFAULT_CHECKPOINT})",
        metavar="NAME|PATH",
        reads=comma_separated,
    )
    config: str | None = _model(
        None,
        "the config of a checkpoint (.pth): a file of mmaction2 or pyskl, or the name of a "
        "published checkpoint whose network it has (default: that of the published checkpoint that "
        "the file is, else HMDB51's)",
        metavar="NAME|PATH",
        reads=one_path,
    )
    classes: str | None = _model(
        None,
        "names of the classes, one a line in FILE (default: what the model file says)",
        metavar="FILE",
        reads=one_path,
    )
    gears: str | None = _model(
        None,
        "batch sizes that an .om file without a NAME.om.json was compiled for",
        metavar="N,N,…",
    )
    layout: Literal["auto", Layout] = _model(
        AUTO,
        "clips runs the network over whole clips, shared over every distinct frame and context "
        "of a video once; auto shares where the model's graph can be cut and its batch is free",
        choices=(AUTO, *LAYOUTS),
        dump=False,
    )
    backend: str = _device(
        AUTO,
        "runtime: auto, openvino, onnxruntime, torch (GPUs), or for an .om file acl (aclruntime) "
        "and pyacl",
        metavar="NAME",
    )
    device: str | None = _device(
        None,
        "the runtime's own name of the device: CPU, GPU (openvino), an execution provider such as "
        "CUDAExecutionProvider (onnxruntime), cuda:1 or cpu (torch), a number (acl, torch); of "
        "numbers there may be several (0,1), which share the work",
        metavar="NAME",
        identity="device",
    )
    precision: Literal["auto", "fastest", Precision] = _device(
        AUTO,
        "precision that the device computes in (auto: that of the file, f32 for a "
        "checkpoint; fastest: of those that file and device allow, as measured here once, about a "
        "second each); int8 takes a file made by python -m converters.quantize",
        choices=(AUTO, FASTEST, *PRECISIONS),
    )
    threads: int | None = _device(
        None,
        "threads of the runtime (default: one a core: decoding takes a hundredth of the time, so "
        "it shares the cores instead of having one to itself)",
        kind=int,
        metavar="N",
        within=(1, 1024),
    )
    max_batch: int | None = _device(
        None,
        "samples (20 clips each) that run as one batch at most (default: 4, or the next multiple "
        "of the model's fixed batch; 16 windows)",
        kind=int,
        metavar="N",
        within=(1, 1024),
        only="processes",
    )
    max_wait_ms: float = _device(
        0.0,
        "how long an idle device waits for a batch to fill, from its first sample",
        metavar="MS",
        within=(0, 10**6),
        only="processes",
    )
    workers: int | None = _processes(
        None,
        "decode workers (default: a quarter of the cores, at least 1: rendering a sample takes a "
        "hundredth of the time a CPU needs to run it)",
        kind=int,
        metavar="N",
        within=(1, 256),
    )
    wire: Literal["auto", Wire] = _processes(
        AUTO,
        "what workers send: each distinct heatmap frame once (its cells that are not zero) with "
        "the clip plan, the whole clip tensor (205 MB a sample), or keypoints on the canvas, for "
        "the executor to draw (auto: frames; keypoints for backend torch, whose device draws)",
        choices=(AUTO, *WIRES),
    )
    max_memory: int | None = _processes(
        None,
        "bytes of clips in flight, such as 512M, the sender's copy and the receiver's (default: a "
        "quarter of the memory)",
        kind=parse_bytes,
        metavar="BYTES",
    )
    lease_timeout: float = _processes(
        60.0,
        "a worker silent for so long over a sample is killed",
        metavar="S",
        within=(1, 10**6),
    )
    stall_timeout: float = _processes(
        300.0,
        "a device silent for so long over a batch is restarted",
        metavar="S",
        within=(1, 10**6),
    )
    start_timeout: float = _processes(
        300.0,
        "a process that takes longer to get ready is killed and started again, twice at most",
        metavar="S",
        within=(1, 10**6),
    )
    grace: float = _processes(
        10.0,
        "after a first SIGINT, SIGTERM or SIGHUP, what is on its way is finished for so long; a "
        "second one ends at once",
        metavar="S",
        within=(0, 10**6),
    )
    listen: str | None = _processes(
        None,
        "let decode workers of other machines join (python -m engine.join); off loopback this "
        "needs --keys",
        metavar="tcp://HOST[:PORT]",
        cluster=False,
        only="samples",
    )
    keys: str | None = _processes(
        None,
        "with --listen: only workers with a key in FOLDER may join (python -m engine.keys)",
        metavar="FOLDER",
        reads=keys_below,
    )
    cluster: str | None = _processes(
        None,
        "run on a Ray cluster: local (one of this machine, for this run), auto (the one that this "
        "machine belongs to), or its address",
        metavar="local|auto|ADDRESS",
    )
    engines: int | None = _processes(
        None,
        "engines on the cluster (default: one for each GPU or NPU where the "
        "backend runs on such, else one for each node, or for each --threads of its CPUs)",
        kind=int,
        metavar="N",
        within=(1, 100_000),
    )
    in_process: bool = _processes(
        False, "run everything in this process, one sample after the other", only=None
    )
    output: str | None = _output(
        None,
        "write a record a sample, or a label a window, to FILE as they come: JSON lines, or by its "
        "ending .csv or .parquet (which is written at the end, from FILE.parquet.jsonl)",
        metavar="FILE",
        writes="results",
    )
    overwrite: bool = _output(
        False,
        "--output and --segments may replace a file that is there",
        needs=("output", "segments"),
    )
    resume: str | None = _output(
        None,
        "go on with the run that wrote FILE: samples with a record there are not run again, the "
        "others are appended; refused where data, model or preprocessing differ. A FILE that "
        "does not exist is begun",
        metavar="FILE",
        writes="file",
        only="samples",
    )
    scores: str | None = _output(
        None,
        "write id [N], label [N], classes and scores [N, classes] to FILE",
        metavar="FILE.npz",
        writes="file",
        only="samples",
    )
    logits: str | None = _output(
        None,
        "write id [N], label [N], classes and logits [N, clips, classes] to FILE",
        metavar="FILE.npz",
        writes="file",
        only="samples",
    )
    summary: str | None = _output(
        None, "write the figures of the run to FILE", metavar="FILE.json", writes="file"
    )
    report: str | None = _output(
        None,
        "write a page about the run to FILE: accuracy, confusion, rates, skeletons",
        metavar="FILE.html",
        writes="file",
        only="samples",
    )
    dump_bin: str | None = _output(
        None,
        "write the clip tensors that the model takes (205 MB each for HMDB51's) and labels to DIR "
        "as the published recipe's first step does, and run nothing",
        metavar="DIR",
        cluster=False,
        dump=True,
        writes="folder",
    )
    log_json: str | None = _output(
        None,
        "append what happens to FILE, one JSON line an event, each with the process it happened in",
        metavar="FILE",
        writes="lines",
    )
    dashboard: str | None = _output(
        None,
        "serve a page that shows the run as it goes (without an address at "
        f"{DASHBOARD}); others than this machine's users need the token that is printed",
        metavar="HOST:PORT",
        bare=DASHBOARD,
    )
    top_k: int | None = _output(
        None,
        "classes listed for each record or label (default: 5 of a sample, none of a label)",
        kind=int,
        metavar="K",
        needs=("output", "resume", "publish"),
    )

    @property
    def averages(self) -> bool:
        """Whether all clips of a sample are averaged, not the first of them taken."""
        return not (self.source or self.windows) if self.tta is None else self.tta

    @property
    def whom(self) -> Per:
        """Whom an answer is about."""
        return self.per or ("person" if self.source or self.windows else "group")

    def __post_init__(self) -> None:
        if isinstance(self.clips, str):
            object.__setattr__(self, "clips", parse_clips(self.clips))
        check_values(self)
        idle = without_effect(type(self), vars(self))
        for f in fields(self):
            if f.name in idle and getattr(self, f.name) != f.default:
                raise UsageError(f"{flag(f.name)} has no effect {idle[f.name]}")
        if isinstance(self.clips, str) and self.clips not in _CLIPS:
            raise UsageError(
                f"--clips {self.clips!r}: choose from {', '.join(_CLIPS)}, or a number"
            )
        if self.config is not None and self.model is None:
            raise UsageError("--config CONFIG is of a checkpoint; give --model FILE.pth as well")
        if self.resume is not None and self.output not in (None, self.resume):
            raise UsageError("--resume FILE goes on writing FILE; leave --output out")
        if self.resume is not None and self.logits is not None:
            raise UsageError("--logits wants all samples, and a resumed run has not kept theirs")
        if self.engines is not None and self.cluster is None:
            raise UsageError("--engines N is for --cluster; give that as well")
        if self.cluster is not None:
            for f in fields(self):
                if not about(f).cluster and getattr(self, f.name):
                    raise UsageError(f"--cluster scores data sets; leave {flag(f.name)} out")
        if self.cluster is not None and self.precision == FASTEST:
            raise UsageError(
                "--precision fastest is measured on this machine, and --cluster runs on others; "
                "name the precision"
            )
        if self.dump_bin is not None and self.per == "person":
            raise UsageError("--dump-bin writes the clips of whole videos; leave --per person out")
        if self.keys is not None and self.listen is None and self.publish is None:
            raise UsageError("--keys FOLDER protects --listen or --publish; give that as well")
        if self.max_wait_ms / 1e3 >= self.stall_timeout:
            raise UsageError(
                f"--max-wait-ms {self.max_wait_ms:g} is longer than --stall-timeout "
                f"{self.stall_timeout:g} allows a device to be silent"
            )
