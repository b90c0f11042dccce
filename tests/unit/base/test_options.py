"""Command line over environment over default."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from engine.base.errors import UsageError
from engine.base.option_field import files_written, identity_of, names_read, option
from engine.base.options import Options
from engine.cli.arguments import parse, parse_as


def test_defaults() -> None:
    assert parse([], {}) == Options()


def test_order() -> None:
    environment = {"ENGINE_LIMIT": "7", "ENGINE_IN_PROCESS": "1", "ENGINE_SPLIT": "val"}
    options = parse(["--limit", "3"], environment)
    assert (options.limit, options.in_process, options.split) == (3, True, "val")


def test_every_option_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--help"], {})
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for f in fields(Options):
        assert "--" + f.name.replace("_", "-") in text


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--limit", "0"], {}, "--limit 0: must be at least 1"),
        (["--limit", "x"], {}, "invalid int"),
        (["--config", "a.py"], {}, "--config CONFIG is of a checkpoint; give --model FILE.pth"),
        (["--reference", "2.x"], {}, "invalid choice"),
        (["--unknown"], {}, "unrecognized arguments"),
        (["--input", "prep/bin"], {}, "--input is an option of ais_bench; here --dataset reads"),
        (["--output=.", "--output_dirname", "out"], {}, "here --output FILE takes a record"),
        (["--batchsize", "8"], {}, "--batchsize is an option of ais_bench; here --max-batch"),
        (["--loop", "100"], {}, "python -m benchmarks.pure_inference measures the device"),
        (["--dymBatch=8"], {}, "--dymBatch is an option of ais_bench; here a file's sizes"),
        (["--cluster=auto", "--precision=fastest"], {}, "--cluster runs on others; name the"),
        ([], {"ENGINE_LIMIT": "many"}, "ENGINE_LIMIT=many: a whole number is needed"),
        (["--workers", "99999999"], {}, "--workers 99999999: must be at most 256"),
        ([], {"ENGINE_MAX_MEMORY": "5X"}, "a number of bytes, such as 512M, is needed"),
        ([], {"ENGINE_IN_PROCESS": "yes"}, "expected 0 or 1"),
        ([], {"ENGINE_PRECISION": "f64"}, "choose from auto, fastest, f32, f16, bf16, int8"),
    ],
)
def test_usage_errors(
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    environment: dict[str, str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments, environment)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 2, "the usage and the message"


def test_as_python() -> None:
    with pytest.raises(UsageError, match="choose from"):
        Options(reference="2.x")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"--workers 2.5: a whole number is needed"):
        Options(workers=2.5)  # type: ignore[arg-type]

    with pytest.raises(UsageError, match="--in-process 'no': True or False is needed"):
        Options(in_process="no")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--dataset None: text is needed"):
        Options(dataset=None)  # type: ignore[arg-type]
    assert Options(dataset=Path("a.pkl")).dataset == "a.pkl"  # type: ignore[arg-type]


def test_variables_that_do_not_concern_a_run_in_process() -> None:
    environment = {"ENGINE_WORKERS": "3", "ENGINE_TOP_K": "2"}
    options = parse(["--in-process", "--output", "a"], environment)
    assert (options.workers, options.top_k) == (None, 2)
    assert parse(["--in-process"], environment).top_k is None, "of lines of --output"
    assert parse([], environment).workers == 3
    assert parse([], {**environment, "ENGINE_IN_PROCESS": "1"}).workers is None


def test_what_has_no_effect_is_refused() -> None:
    with pytest.raises(UsageError, match="--workers has no effect with --in-process"):
        Options(workers=2, in_process=True)
    assert Options(wire="auto", in_process=True).in_process


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stride", "0.4"], "--stride has no effect without --source or --windows: it is for"),
        (["--windows", "--waiting", "8"], "--waiting has no effect without --source: it is for li"),
        (["--source", "demo", "--split", "a"], "--split has no effect with --source: it is for ru"),
        (["--windows", "--report", "a.html"], "--report has no effect with --windows, whose lab"),
        (["--top-k", "5"], "--top-k has no effect without --output or --resume or --publish"),
        (["--overwrite"], "--overwrite has no effect without --output or --segments"),
        (["--segments", "a"], "--segments has no effect without --source or --windows"),
        (["--dump-bin", "d", "--output", "a"], "--output has no effect with --dump-bin, which"),
        (["--dump-bin", "d", "--source", "demo"], "--source has no effect with --dump-bin"),
        (["--dump-bin", "d", "--dataset", "a.mp4"], "--dump-bin is for annotations, and a.mp4 is"),
        (["--dataset", "a.mp4", "--limit", "3"], "--limit has no effect with --source"),
    ],
)
def test_flags_without_effect(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Whatever they say, their default too. Variables are for runs of all kinds."""
    with pytest.raises(SystemExit) as caught:
        parse(arguments, {})
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    everything = {"ENGINE_STRIDE": "1", "ENGINE_SEGMENTS": "a", "ENGINE_LIMIT": "3"}
    assert parse(["--dataset", "demo"], everything).stride == 0.4


@pytest.mark.parametrize("name", ["a.mp4", "b/c.MOV", "d.mkv?live"])
def test_a_video_as_a_data_set(name: str) -> None:
    expected = Options(source=(f"video:{name}",), stride=0.5)
    assert parse(["--dataset", name, "--stride", "0.5"], {}) == expected
    assert parse(["--dataset", name, "--windows", "--stride", "0.5"], {}) == expected
    assert parse(["--stride", "0.5"], {"ENGINE_DATASET": name, "ENGINE_LIMIT": "1"}) == expected


def test_a_wait_longer_than_the_stall_time_out_is_refused() -> None:
    with pytest.raises(UsageError, match="--max-wait-ms 4000 is longer than --stall-timeout 2"):
        Options(max_wait_ms=4000, stall_timeout=2)


@dataclass(frozen=True)
class _More(Options):
    """Options of a test's own: a field each, and nothing anywhere else."""

    mirror: str = option(
        "input", "never", "how to mirror", choices=("never", "odd"), only="live", identity="mirror"
    )
    colours: int | None = option("model", None, "how many", kind=int, metavar="N", within=(2, 9))
    sketch: str | None = option(
        "output", None, "draw into FILE", metavar="FILE", cluster=False, writes="file"
    )
    palette: str | None = option("input", None, "what to draw with", reads=lambda value: [value])


def test_a_new_option_is_one_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_as(_More, ["--colours", "3"], {}).colours == 3
    assert parse_as(_More, [], {"ENGINE_COLOURS": "4"}).colours == 4
    with pytest.raises(SystemExit):
        parse_as(_More, ["--help"], {})
    said = " ".join(capsys.readouterr().out.split())
    assert "--mirror {never,odd} how to mirror (default: never)" in said
    assert "--colours N how many" in said

    with pytest.raises(UsageError, match="--colours 1: must be at least 2"):
        _More(colours=1)
    with pytest.raises(UsageError, match="--mirror 'even': choose from never, odd"):
        _More(mirror="even", windows=True)
    with pytest.raises(UsageError, match="--mirror has no effect without --source or --windows"):
        _More(mirror="odd")
    assert parse_as(_More, [], {"ENGINE_MIRROR": "odd"}).mirror == "never", "not for this run"
    assert parse_as(_More, ["--windows"], {"ENGINE_MIRROR": "odd"}).mirror == "odd"
    with pytest.raises(UsageError, match="--cluster scores data sets; leave --sketch out"):
        _More(sketch="a.png", cluster="local")

    palette = tmp_path / "palette"
    palette.touch()
    options = _More(mirror="odd", windows=True, sketch="a.png", palette=str(palette))
    assert identity_of(options) == {
        "device": None,
        "mirror": "odd",
    }
    assert [(f.name, name) for f, name in files_written(options)] == [("sketch", "a.png")]
    assert ("--palette", str(palette)) in names_read(options)


@pytest.mark.parametrize(
    ("value", "files"),
    [
        ("video:a.mp4?live", ["a.mp4"]),
        ("replay:a.mp4@30", ["a.mp4"]),
        ("video:b.mp4?model=a.mp4&people=2", ["a.mp4"]),
        ("openpose:folder@640x480", ["folder"]),
        ("folder", ["folder"]),
        ("a.mp4", ["a.mp4"]),
        ("a.mp4?live", ["a.mp4"]),
        ("demo", []),
    ],
)
def test_files_that_a_source_reads(value: str, files: list[str], chdir_tmp: Path) -> None:
    (chdir_tmp / "a.mp4").touch()
    (chdir_tmp / "folder").mkdir()
    found = names_read(Options(source=(value,)))
    assert {name for flag, name in found if flag == "--source"} == {*files}


def test_what_a_run_reads(chdir_tmp: Path) -> None:
    (chdir_tmp / "keys").mkdir()
    for name in ("engine.key_secret", "notes.txt"):
        (chdir_tmp / "keys" / name).touch()
    chosen = Options(dataset="a.pkl", model="one.om,two.om", listen="tcp://127.0.0.1", keys="keys")
    assert [*names_read(chosen)] == [
        ("--dataset", "a.pkl"),
        ("--model", "one.om"),
        ("--model", "two.om"),
        ("--keys", "keys/engine.key_secret"),
    ]


def test_where_a_resumed_run_writes() -> None:
    with pytest.raises(UsageError, match="leave --output out"):
        Options(resume="a", output="b")
    with pytest.raises(UsageError, match="--logits"):
        Options(resume="a", logits="b")
    assert Options(resume="a", output="a").resume == "a"


def test_whom_an_answer_is_about() -> None:
    assert Options().whom == "group"
    assert Options(windows=True).whom == Options(source=("demo",)).whom == "person"
    assert Options(per="person").whom == "person"
    assert Options(per="group", windows=True).whom == "group"
