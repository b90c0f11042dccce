"""Live sources through the whole pipeline: real processes, a small network."""

from __future__ import annotations

import contextlib
import csv
import json
import pickle
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import zmq

import engine
from engine import livestream
from engine.base.errors import SourceError, UsageError
from engine.base.options import Options
from engine.base.records import Prediction
from engine.cli.dispatch import dispatch
from engine.live.labels import Label
from engine.pipeline import Pipeline
from engine.sources.dataset import open_dataset
from engine.sources.pose_frames import PoseFrame
from engine.sources.recorded import frames_of, recorded
from engine.sources.source import Source, Stop
from tests.support import ROOT
from tests.support.samples import annotation

LIVE: Any = {"source": ("test",), "stride": 0.2, "smooth": 1, "threshold": 0.0, "crop": "exact"}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos, shorter and longer than a window."""
    path = tmp_path_factory.mktemp("videos") / "videos.pkl"
    frames = (20, 47, 48, 60, 90, 130)
    path.write_bytes(pickle.dumps([annotation(n, seed=n) for n in frames]))
    return path


@pytest.fixture(scope="module")
def expected(videos: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Scores of a window: of the data set run over the very same frames."""
    by_name = {a["frame_dir"]: a for a in pickle.loads(videos.read_bytes())}
    path = tmp_path_factory.mktemp("cut") / "cut.pkl"

    def scores(labels: list[Label], model: Path = tiny_model) -> list[Any]:
        cut = []
        for number, label in enumerate(labels):
            whole, part = by_name[label.stream], slice(label.first, label.last + 1)
            frames = label.last + 1 - label.first
            cut.append(
                {
                    **whole,
                    "frame_dir": str(number),
                    "total_frames": frames,
                    "keypoint": whole["keypoint"][:, part],
                    "keypoint_score": whole["keypoint_score"][:, part],
                }
            )
        path.write_bytes(pickle.dumps(cut))
        with Pipeline(Options(dataset=str(path), model=str(model), tta=False)) as pipeline:
            records = sorted(pipeline, key=lambda r: r.index)
        return [r.scores for r in records if isinstance(r, Prediction)]

    return scores


def labels_of(model: Path, *sources: Any, **more: Any) -> list[Label]:
    with engine.Stream(Options(model=str(model), **{**LIVE, **more}), sources) as stream:
        return list(stream)


def test_windows_of_a_recording_have_the_data_sets_scores(
    videos: Path, tiny_model: Path, expected: Any
) -> None:
    found = labels_of(tiny_model, f"replay:{videos}")
    per_video = {
        name: [label.last for label in found if label.stream == name]
        for name in dict.fromkeys(label.stream for label in found)
    }
    assert per_video == {
        "video_20": [19],
        "video_47": [46],
        "video_48": [47],
        "video_60": [47, 53, 59],
        "video_90": [47, 53, 59, 65, 71, 77, 83, 89],
        "video_130": [*range(47, 130, 6), 129],
    }
    for label, scores in zip(found, expected(found), strict=True):
        np.testing.assert_array_equal(label.scores, scores)
        assert label.label == scores.argmax()


@pytest.mark.slow
def test_windows_sampled_as_the_reference_does(
    videos: Path, tiny_model: Path, expected: Any
) -> None:
    """Those of a second and more are whole videos to the data set's sampling."""
    found = labels_of(tiny_model, f"replay:{videos}", sampling="reference", window=2.5)
    spans = [label.last + 1 - label.first for label in found if label.stream == "video_130"]
    assert spans == [75] * 10
    for label, scores in zip(found, expected(found), strict=True):
        np.testing.assert_array_equal(label.scores, scores)


@pytest.mark.parametrize("wire", ["frames", pytest.param("keypoints", marks=pytest.mark.slow)])
def test_windows_of_another_recipe(
    videos: Path, limb_model: Path, expected: Any, wire: str
) -> None:
    """Of as many moments as its clips have frames: limbs, at 64 pixels, of 32 frames."""
    found = labels_of(limb_model, f"replay:{videos}", window=1, wire=wire)
    lasts = [label.last for label in found if label.stream == "video_60"]
    assert lasts == [*range(35, 60, 6)]
    for label, scores in zip(found, expected(found, limb_model), strict=True):
        np.testing.assert_array_equal(label.scores, scores)


@pytest.mark.slow
def test_the_same_windows_live(videos: Path, tiny_model: Path, expected: Any) -> None:
    """At their own speed, all at once: what is not left out has the same scores."""
    with engine.Stream(Options(model=str(tiny_model), **LIVE), [f"replay:{videos}@30"]) as stream:
        found = list(stream)
        windows = stream.streams.totals().windows
        assert len(found) + stream.streams.figures.dropped == windows == 29
    for label, scores in zip(found, expected(found), strict=True):
        np.testing.assert_array_equal(label.scores, scores)
        assert 0 < label.latency_ms < 60_000


@pytest.mark.parametrize("per", ["person", pytest.param("group", marks=pytest.mark.slow)])
def test_only_what_is_new_is_computed(videos: Path, tiny_model: Path, per: str) -> None:
    """In crops that stay: as good as anew, in the same crops. The first windows of tracks are in
    the reference's own."""
    ways: list[Any] = [{"crop": "steady"}, {"crop": "steady", "track_memory": 0}, {}]
    kept, anew, exact = (labels_of(tiny_model, f"replay:{videos}", per=per, **way) for way in ways)
    assert len(kept) == len(anew) == len(exact) == 29
    for one, other in zip(kept, anew, strict=True):
        assert (one.stream, one.who, one.last) == (other.stream, other.who, other.last)
        np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=1e-5)
    begins = [n for n, label in enumerate(exact) if label.last == 47]
    assert len(begins) == 4
    for number in begins:
        np.testing.assert_array_equal(anew[number].scores, exact[number].scores)


def test_only_what_is_new_is_computed_of_another_recipe(videos: Path, limb_model: Path) -> None:
    kept, anew = (
        labels_of(limb_model, f"replay:{videos}", window=1, crop="steady", **way)
        for way in ({}, {"track_memory": 0})
    )
    assert len(kept) == len(anew) > 30
    for one, other in zip(kept, anew, strict=True):
        assert (one.stream, one.who, one.last) == (other.stream, other.who, other.last)
        np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=1e-5)


def test_a_recording_is_never_cut_however_long_it_takes(
    videos: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it is read at once, and looked at bit by bit."""
    limits = partial(livestream.StreamLimits, idle=0.02)
    monkeypatch.setattr(livestream, "StreamLimits", limits)
    found = labels_of(tiny_model, f"replay:{videos}", stride=0.1, max_batch=1)
    assert len(found) == len(labels_of(tiny_model, f"replay:{videos}", stride=0.1)) > 40
    lasts = [label.last for label in found if label.stream == "video_90"]
    assert lasts == [*range(47, 90, 4), 89]


@pytest.mark.slow
def test_order_and_smoothing(videos: Path, tiny_model: Path) -> None:
    plain = labels_of(tiny_model, f"replay:{videos}", max_batch=3, workers=2)
    smooth = labels_of(tiny_model, f"replay:{videos}", smooth=4, max_batch=3, workers=2)
    lasts: dict[str, int] = {}
    for label in smooth:
        assert lasts.get(label.stream, -1) < label.last
        lasts[label.stream] = label.last
    mine = [label for label in plain if label.stream == "video_90"]
    mean = np.mean([label.scores for label in mine[2:6]], axis=0)
    [found] = [s for s in smooth if (s.stream, s.last) == ("video_90", mine[5].last)]
    assert found.score <= mean.max() + 1e-6


def test_an_iterator_of_ones_own(videos: Path, tiny_model: Path) -> None:
    """Dicts and frames; what is none is counted and does no harm."""
    [sample] = [s for s in open_dataset(str(videos)).samples if s.id == "video_60"]

    def messages() -> Iterator[Any]:
        for frame in frames_of(sample):
            assert isinstance(frame, PoseFrame)
            people = [{"id": p.id, "kpts": p.kpts.tolist()} for p in frame.people]
            yield {
                "stream": "mine",
                "frame": frame.frame,
                "t": frame.t,
                "size": frame.size,
                "people": people,
            }
            yield b"{}"

    found = list(engine.stream(messages(), model=str(tiny_model), stride=0.2))
    assert [(label.stream, label.who, label.last) for label in found] == [
        ("mine", 0, 47),
        ("mine", 0, 53),
        ("mine", 0, 59),
    ]


def test_mistakes_in_python_are_told(tiny_model: Path) -> None:
    for source in (None, 5, {"stream": "a"}, ["jsonl:a", "jsonl:b"]):
        with pytest.raises(UsageError, match="source"):
            next(engine.stream(source, model=str(tiny_model)))  # type: ignore[arg-type]

    wrong = [{"stream": "a", "frame": 0.5, "size": [4, 4], "people": []}] * 2
    with pytest.raises(SourceError, match="every one of 2 messages was refused, .* frame is 0.5"):
        list(engine.stream(wrong, model=str(tiny_model)))

    def broken() -> Iterator[Any]:
        yield PoseFrame("s", 0, 0.0, (640, 480), ())
        raise RuntimeError("mine")

    with pytest.raises(SourceError, match="iterator ended: RuntimeError: mine"):
        list(engine.stream(broken(), model=str(tiny_model)))


def test_a_source_that_fails_harms_no_other(videos: Path, tiny_model: Path) -> None:
    def broken(stop: Stop) -> Iterator[Any]:
        yield {"stream": "x"}
        raise OSError("the camera is gone")

    samples = open_dataset(str(videos)).samples[:3]
    chosen = Options(model=str(tiny_model), **LIVE)
    sources = [Source("camera", broken, live=True), recorded("file", samples)]
    with engine.Stream(chosen, sources) as stream:
        assert len(list(stream)) == 3
        error = stream.supply.figures["camera"].error
        assert error is not None
        assert error.startswith("OSError: the camera is gone, test_livestream.py:")
        assert error.endswith("raised by the source at message 2")
        assert stream.supply.figures["camera"].refused == 1


def test_a_flood_is_bounded(tiny_model: Path) -> None:
    """Far more than the device can do: the newest windows are labelled, the others counted."""
    [sample] = recorded_samples()
    frames = [frame for frame in frames_of(sample) if isinstance(frame, PoseFrame)]

    def flood(stop: Stop) -> Iterator[Any]:
        for turn in range(60):
            for frame in frames:
                yield PoseFrame("flood", turn * 48 + frame.frame, frame.t, frame.size, frame.people)

    with engine.Stream(
        Options(model=str(tiny_model), **{**LIVE, "stride": 0.1}), [Source("f", flood, live=True)]
    ) as stream:
        found = list(stream)
        dropped, lost = stream.streams.figures.dropped, stream.supply.figures["f"].lost
        assert len(found) + dropped == stream.streams.totals().windows
        assert lost > 2000  # more than four times what it says, which is 30 a second
        assert len(found) > 1


def test_labels_are_young_while_the_device_cannot_keep_up(
    tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Three crowds at their own speed, which is several times what any machine can: the labels of
    all are young, and it is said once."""
    [sample] = recorded_samples()
    frames = [frame for frame in frames_of(sample) if isinstance(frame, PoseFrame)]

    def crowds(stop: Stop) -> Iterator[Any]:
        begun = time.monotonic()
        for number in range(240):
            time.sleep(max(0.0, begun + number / 30 - time.monotonic()))
            one = frames[number % 48].people[0]
            people = tuple(replace(one, id=who) for who in range(20))
            for name in "abc":
                yield PoseFrame(name, number, number / 30, (640, 480), people, 30.0)

    options = Options(model=str(tiny_model), **{**LIVE, "stride": 0.07, "max_age": 1.5})
    with engine.Stream(options, [Source("crowds", crowds, live=True)]) as stream:
        found = list(stream)
        windows, dropped = stream.streams.totals().windows, stream.streams.figures.dropped
    assert len(found) + dropped == windows
    assert dropped > windows / 2
    ages = [label.latency_ms / 1e3 for label in found]
    assert np.percentile(ages, 95) < 1.5 + 1
    counts = Counter(label.stream for label in found)
    assert min(counts.values()) > 0.7 * max(counts.values())
    said = [text for text in caplog.messages if text.startswith("the device")]
    assert len(said) == 1
    assert said[0].startswith("the device cannot keep up: in 3 of 3 streams a window every ")
    assert said[0].endswith(
        "what would help: --precision fastest, a longer --stride, fewer streams"
    )


def recorded_samples() -> Any:
    from engine.skeletons.samples import Sample

    return [Sample(0, "a", annotation(48, seed=1))]


def command(model: Path, *more: object) -> list[str]:
    base = sys.executable, "-m", "engine.run", "--model", model, "--stride", 0.2, *more
    return [str(part) for part in base]


def test_the_command_line(videos: Path, tiny_model: Path, tmp_path: Path) -> None:
    """From standard input to files, and the same as the windows of a data set, timed by --fps."""
    asked = "--fps", 60, "--top-k", 2, "--threshold", 0
    lines = []
    for sample in open_dataset(str(videos)).samples:
        for frame in frames_of(sample):
            assert isinstance(frame, PoseFrame)
            people = [{"id": p.id, "kpts": p.kpts.tolist()} for p in frame.people]
            lines.append(
                orjson.dumps(
                    {
                        "stream": frame.stream,
                        "frame": frame.frame,
                        "t": frame.t,
                        "size": frame.size,
                        "people": people,
                        "end": frame.end,
                        "rate": frame.rate,
                    }
                )
            )
    lines.insert(5, b"not a frame")
    (tmp_path / "a.jsonl").write_bytes(b'{"stream":"of an earlier run"}')
    piped = subprocess.run(
        command(
            tiny_model,
            "--source",
            "jsonl:-",
            *("--output", tmp_path / "a.jsonl", "--overwrite"),
            *("--segments", tmp_path / "a.csv", "--summary", tmp_path / "a.json"),
            *asked,
        ),
        input=b"\n".join(lines),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert piped.returncode == 0, piped.stderr
    cut = subprocess.run(
        command(
            tiny_model,
            *("--dataset", videos, "--windows", *asked),
            *("--output", tmp_path / "b.jsonl", "--segments", tmp_path / "b-segments.jsonl"),
        ),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert cut.returncode == 0, cut.stderr
    found = [
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("a.jsonl", "b.jsonl")
    ]
    assert (tmp_path / "a.jsonl").read_bytes().count(b"\n") == len(found[0])  # once
    for line in found[0]:
        assert line["t"] == line["last"] / 60
        best, second = (one["score"] for one in line["top"])
        assert second <= best == pytest.approx(max(line["scores"]))
    rows = [*csv.DictReader((tmp_path / "a.csv").read_text().splitlines())]
    segments = [
        json.loads(line) for line in (tmp_path / "b-segments.jsonl").read_text().splitlines()
    ]
    by_video = {s["stream"]: [] for s in segments}
    for one in segments:
        by_video[one["stream"]].append((one["start"], one["end"]))
    ends = {f"video_{n}": (n - 1) // 2 / 30 for n in (20, 47, 48, 60, 90, 130)}
    assert {name: spans[-1][1] for name, spans in by_video.items()} == pytest.approx(ends)
    assert all(spans[0][0] == 0 for spans in by_video.values())
    assert sorted((r["stream"], float(r["start"]), r["name"]) for r in rows) == sorted(
        (s["stream"], s["start"], s["name"]) for s in segments
    )
    for one, other in zip(*found, strict=True):
        one.pop("latency_ms")
        other.pop("latency_ms")
        assert one == other
    summary = json.loads((tmp_path / "a.json").read_text())
    assert summary["sources"]["jsonl:-"] == {
        "taken": 395,
        "refused": 1,
        "lost": 0,
        "over": True,
        "error": None,
        "reasons": {"not JSON: invalid literal, expected 'null': line 1 column 1 (char 0)": 1},
        "unheard": [],
        "empty": 0,
        "first_empty": None,
    }
    assert summary["windows"] == {"made": len(found[0]), "dropped": 0, "waiting": 0}


def test_a_source_of_nothing_is_told(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "refused.jsonl").write_bytes(b'{"stream": "a", "frame": 1.5}\n' * 3)
    sources = [("--source", f"jsonl:{tmp_path / name}.jsonl") for name in ("empty", "refused")]
    done = subprocess.run(
        command(tiny_model, *sources[0], *sources[1]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3
    assert "empty.jsonl ended: nothing came of it: there is no frame in it\n" in done.stderr
    assert (
        "refused.jsonl ended: nothing came of it: every one of 3 messages was refused"
        in done.stderr
    )
    assert "the first because: people is None; a list" in done.stderr


def test_interrupted(videos: Path, tiny_model: Path) -> None:
    process = subprocess.Popen(
        command(tiny_model, "--source", f"replay:{videos}@5"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith("backend"):
        pass
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "labels    " in out


@pytest.mark.slow
def test_published_and_exposed(videos: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Labels on a PUB socket are the lines of the file, and Prometheus counts the same."""
    pytest.importorskip("prometheus_client")
    ports = free_port(), free_port()
    out = tmp_path / "a.jsonl"
    process = subprocess.Popen(
        command(
            tiny_model,
            "--source",
            f"replay:{videos}@30",
            "--output",
            out,
            "--publish",
            f"tcp://127.0.0.1:{ports[0]}",
            "--metrics",
            f"127.0.0.1:{ports[1]}",
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    found, page = [], ""
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
        subscriber.subscribe(b"")
        subscriber.connect(f"tcp://127.0.0.1:{ports[0]}")
        while process.poll() is None or subscriber.poll(200):
            if subscriber.poll(100):
                found.append(subscriber.recv_multipart())
                with contextlib.suppress(OSError):
                    url = f"http://127.0.0.1:{ports[1]}/metrics"
                    page = urllib.request.urlopen(url, timeout=5).read().decode()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"publish   tcp://127.0.0.1:{ports[0]}\n" in said
    lines = out.read_bytes().splitlines(keepends=True)
    assert found
    assert [data for _, data in found] == lines[-len(found) :]
    assert all(name == json.loads(data)["stream"].encode() for name, data in found)
    figures = dict(line.rsplit(" ", 1) for line in page.splitlines() if line[0] != "#")
    assert float(figures["posec3d_latency_seconds_count"]) <= len(lines)
    assert float(figures["posec3d_frames_total"]) > 0
    assert float(figures["posec3d_processes"]) == 2
    assert float(figures['posec3d_batches_total{windows="1"}']) > 0
    board = (ROOT / "docs" / "grafana.json").read_text()
    names = set(re.findall(r"posec3d_\w+", board))
    assert len(names) > 10
    known = {line.split("{")[0] for line in figures}
    assert names <= known, "the dashboard asks for figures that are not served"
    assert (
        float(figures[f'posec3d_messages_total{{fate="refused",source="replay:{videos}@30"}}']) == 0
    )


def test_without_what_live_sources_need(chdir_tmp: Path) -> None:
    hidden = "import sys; sys.modules['scipy'] = None; from engine.run import main; "
    run = subprocess.run(
        [sys.executable, "-c", hidden + "sys.exit(main(['--source', 'demo']))"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 2
    assert "telling persons apart: " in run.stderr
    assert "pip install '.[live]'" in run.stderr
    assert len(run.stderr.splitlines()) == 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--source", "nowhere:x"], "no source is called 'nowhere'; known: demo, http"),
        (["--source", "jsonl:/none"], "no such file"),
        (["--source", "replay:/none.pkl"], "replay:/none.pkl"),
        (["--source", "openpose:/none"], "openpose:/none: no such file or folder"),
        (["--source", "poses:/none@320"], "--size 320: WIDTHxHEIGHT in pixels"),
        (["--source", "jsonl:-", "--scores", "s.npz"], "--scores has no effect with --source"),
        (["--source", "jsonl:-", "--in-process"], "live sources need processes of their own"),
        (["--source", "jsonl:-", "--windows"], "a --source is cut anyway"),
        (["--source", "jsonl:-", "--limit", "3"], "--limit has no effect with --source"),
        (["--dataset", "demo", "--publish", "x"], "--publish has no effect without --source"),
        (["--source", "jsonl:a", "--output", "a"], "--output a is the file of --source as well"),
        (["--source", "replay:a@3", "--summary", "a"], "--summary a is the file of --source"),
        (["--source", "video:b.mp4", "--save-video", "b.mp4"], "b.mp4 is the file of --source"),
        (["--source", "jsonl:a", "--save-video", "a.avi"], "a file .mp4 is what is written"),
        (["--source", "jsonl:/dev", "--output", "c"], "no such file"),
        (
            ["--source", "jsonl:-", "--publish", "tcp://0.0.0.0:1"],
            "--publish tcp://0.0.0.0:1 is re",
        ),
        (["--source", "jsonl:-", "--publish", "tcp://a:b"], "--publish 'tcp://a:b' is no address"),
        (["--source", "jsonl:-", "--metrics", "0.0.0.0:9400"], "HOST:PORT of loopback is needed"),
    ],
)
def test_refused(
    tiny_model: Path,
    chdir_tmp: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    said: str,
) -> None:
    Path("a").touch()
    Path("b.mp4").touch()
    base = [part for part in command(tiny_model) if part not in ("--stride", "0.2")]
    with pytest.raises((UsageError, SystemExit)) as caught:
        dispatch([*base[3:], *more])
    assert said in f"{caught.value}{capsys.readouterr().err}"


@pytest.mark.parametrize("source", ["jsonl:FILE", "FILE"])
def test_what_no_source_heeds_is_refused(tiny_model: Path, tmp_path: Path, source: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"stream": "a", "frame": 0, "size": [640, 480], "people": []}\n')
    chosen = Options(source=("python",), model=str(tiny_model), size="640x480")
    with pytest.raises(UsageError, match="--size is said of recorded poses of other programs"):
        livestream.Stream(chosen, [source.replace("FILE", str(path))])
