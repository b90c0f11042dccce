"""The fastest precision: which one it is, how it is timed, and what is kept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path

import orjson
import pytest

from engine.base.choices import Precision
from engine.runtime.speeds import Conditions, Rates, Speeds, fastest, keep, kept, timed

HERE = Conditions("a CPU", "0" * 64, "openvino", "1.0", "default", "shared", 2)
RATES: Rates = {"f32": 1.4, "bf16": 2.7}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_CACHE_DIR", str(tmp_path / "cache"))


class Measure:
    """Counts how often it is asked."""

    def __init__(self, rates: Rates) -> None:
        self.rates, self.calls = rates, 0

    def __call__(self) -> Rates:
        self.calls += 1
        return self.rates


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ({"f32": 1.4, "bf16": 2.7}, "bf16"),
        ({"f32": 0.88, "bf16": 0.61}, "f32"),
        ({"f32": 1.0, "bf16": 1.04}, "f32"),  # noise
        ({"bf16": 1.04, "f32": 1.0, "f16": 1.02}, "f32"),
        ({"bf16": 2.0, "f16": 2.0, "f32": 1.0}, "f16"),
        ({"f32": None}, "f32"),
        ({"int8": None}, "int8"),
    ],
)
def test_the_most_exact_of_the_fastest(rates: Rates, best: Precision) -> None:
    assert Speeds(rates).fastest == best


def test_what_is_said_of_a_slower_one() -> None:
    found = Speeds({"f32": 0.88, "f16": 0.9, "bf16": 0.61})
    assert found.fastest == "f32"
    assert (found.faster_than("f32"), found.faster_than("f16")) == (None, None)
    assert found.faster_than("int8") is None  # nobody has measured it
    said = "bf16; f32 was measured 1.44 times as fast here (--precision fastest takes it)"
    assert found.faster_than("bf16") == said
    assert Speeds({"f32": None}).faster_than("f32") is None


def test_measured_once() -> None:
    measure = Measure(RATES)
    precision, said = fastest(HERE, measure)
    assert (precision, "measured now" in said, "f32 1.4 samples/s" in said) == ("bf16", True, True)
    precision, said = fastest(HERE, measure)
    assert (precision, "as measured before" in said, measure.calls) == ("bf16", True, 1)


def test_the_only_one_is_kept_without_a_rate() -> None:
    measure = Measure({"f32": None})
    for _ in range(2):
        precision, said = fastest(HERE, measure)
        assert (precision, measure.calls) == ("f32", 1)
        assert "the only one" in said


def test_all_conditions_count() -> None:
    keep(HERE, RATES)
    for f in fields(HERE):
        other = replace(HERE, **{f.name: 3 if f.name == "threads" else "another"})
        assert kept(other) is None
        assert other.path != HERE.path
    assert kept(HERE) == Speeds(RATES)


def _of_others(path: Path) -> bytes:
    about = asdict(replace(HERE, host="another"))
    return orjson.dumps({"conditions": about, "samples_per_s": RATES})


def _with(rates: object) -> Callable[[Path], bytes]:
    return lambda _: orjson.dumps({"conditions": asdict(HERE), "samples_per_s": rates})


@pytest.mark.parametrize(
    "content",
    [
        lambda path: path.read_bytes()[:-20],
        lambda _: b"",
        lambda _: b"\xff\xfe",
        lambda _: b"[]",
        lambda _: b'{"conditions": null}',
        _of_others,
        _with({}),
        _with([1.0]),
        _with({"f32": 1.0, "f64": 2.0}),
        _with({"f32": 1.0, "bf16": "2.0"}),
        _with({"f32": 1.0, "bf16": -2.0}),
        _with({"f32": 1.0, "bf16": None}),
        _with({"f32": True}),
    ],
)
def test_a_damaged_file_is_measured_again(content: Callable[[Path], bytes]) -> None:
    keep(HERE, {"f32": 3.0, "bf16": 1.0})
    HERE.path.write_bytes(content(HERE.path))
    measure = Measure(RATES)
    assert fastest(HERE, measure)[0] == "bf16"
    assert measure.calls == 1
    assert kept(HERE) == Speeds(RATES)


def test_of_two_runs_at_once_the_first_decides() -> None:
    def measure() -> Rates:
        keep(HERE, {"f32": 3.0, "bf16": 1.0})  # the other one, meanwhile
        return RATES

    assert fastest(HERE, measure)[0] == "f32"


def test_a_cache_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("ENGINE_CACHE_DIR", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "engine"):
        assert fastest(HERE, Measure(RATES))[0] == "bf16"
    assert "cannot be kept" in caplog.text


class Machine:
    """Runs that take their time on a clock of their own."""

    def __init__(self, **seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds
        self.ran: list[tuple[str, int]] = []

    def run(self, name: str) -> Callable[[int], None]:
        def run(samples: int) -> None:
            self.ran.append((name, samples))
            self.now += samples * self.seconds[name]

        return run

    def timed(self, names: list[Precision]) -> dict[Precision, float]:
        return timed({name: self.run(name) for name in names}, lambda: self.now, 1.0)


def test_timing_takes_about_a_second_each() -> None:
    machine = Machine(f32=0.4, bf16=0.1)
    assert machine.timed(["f32", "bf16"]) == pytest.approx({"f32": 2.5, "bf16": 10.0})
    first = [("f32", 1), ("bf16", 1), ("bf16", 2), ("bf16", 4)]  # how many are a quarter of it
    assert machine.ran[:4] == first
    assert machine.ran[4:] == [("f32", 1), ("bf16", 4)] * 3


def test_a_slow_machine_runs_one_sample() -> None:
    machine = Machine(f32=7.0, bf16=9.0)
    assert machine.timed(["f32", "bf16"]) == pytest.approx({"f32": 1 / 7, "bf16": 1 / 9})
    assert machine.ran == [("f32", 1), ("bf16", 1)]


def test_a_fast_device_gets_many_samples() -> None:
    machine = Machine(bf16=0.001)
    assert machine.timed(["bf16"]) == pytest.approx({"bf16": 1000})
    assert machine.ran[-1] == ("bf16", 256)
