"""Samples in stages: of each as many clips as its rule wants, each with the bits that it has where
all of them run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.backends.registry import load
from engine.base.choices import CLIPS, SHARED, Layout
from engine.base.errors import UsageError
from engine.base.recipe import HMDB51_RECIPE
from engine.network.clip_rules import ALL, ClipRule, probabilities
from engine.network.models import open_model
from engine.network.recogniser import average, infer
from engine.network.runners.base import F32, Runner
from engine.network.runners.opening import open_runner
from engine.network.runners.shared import SharedRunner
from engine.skeletons.clips import HeatmapClips, decode
from engine.skeletons.poses import PoseSequence
from tests.support.networks import STRIDED, random_state_dict, write_model
from tests.support.progress import run
from tests.support.samples import annotation

LENGTHS = (1, 7, 30, 48, 60, 96, 300)
ROOM = 1 << 30
WAYS = [
    ("openvino", SHARED),
    pytest.param("openvino", CLIPS, marks=pytest.mark.slow),
    pytest.param("onnxruntime", SHARED, marks=pytest.mark.slow),
    pytest.param("torch", SHARED, marks=pytest.mark.slow),
]


def opened(path: Path, name: str, layout: Layout, rule: ClipRule = ALL, room: int = 0) -> Runner:
    model = replace(open_model(str(path)), layout=layout)
    device = "cpu" if name == "torch" else None
    backend = load(name, model, device=device, precision="f32", threads=2)
    return open_runner(backend, model, model.recipe, rule, room)


@pytest.fixture(scope="module")
def samples() -> list[HeatmapClips]:
    return [
        decode(PoseSequence.from_annotation(annotation(n, 1 + n % 2, seed=n)), HMDB51_RECIPE)
        for n in LENGTHS
    ]


def rules(exact: Sequence[F32]) -> list[ClipRule]:
    """A number, and factors after which some of the samples stop early and some late."""
    order = list(HMDB51_RECIPE.view_order)
    gaps = []
    for logits in exact:
        scores = probabilities(logits[order])
        for n in (1, 4, 10):
            second, best = np.partition(scores[:n].mean(axis=0), -2)[-2:]
            gaps.append((best - second) * sqrt(n))
    factors = np.quantile(gaps, [0.3, 0.7])
    return [ClipRule(first=5), *(ClipRule(until="adaptive", factor=float(f)) for f in factors)]


@pytest.mark.parametrize(("name", "layout"), WAYS)
def test_the_bits_of_all_clips(
    tiny_model: Path, samples: list[HeatmapClips], name: str, layout: Layout
) -> None:
    """Whichever samples are beside it, in whichever order."""
    if name == "torch":
        pytest.importorskip("torch")
    if (name, layout) != ("openvino", SHARED):  # the others are slow here
        samples = samples[1:4]
    whole = opened(tiny_model, name, layout)
    exact = list(infer(whole, samples))
    whole.close()
    ran = []
    for rule in rules(exact):
        expected = [run(rule, logits) for logits in exact]
        runner = opened(tiny_model, name, layout, rule, ROOM)
        together = list(infer(runner, samples))
        backwards = list(infer(runner, samples[::-1]))[::-1]
        alone = [next(infer(runner, [clips])) for clips in samples]
        assert runner.idle
        assert runner.pending == []
        assert runner.clips_run == 3 * sum(map(len, expected))
        runner.close()
        for found in (together, backwards, alone):
            for logits, same in zip(found, expected, strict=True):
                np.testing.assert_array_equal(logits, same)
        ran.append([len(logits) for logits in expected])
    assert set(ran[0]) == {5}
    assert len({*ran[1], *ran[2]}) > 1


def test_without_room(tiny_model: Path, samples: list[HeatmapClips]) -> None:
    """Nothing is kept then; the bits are the same. What was kept is free again in the end."""
    rule = ClipRule(until="certain")
    found = []
    for room in (0, 10**7, ROOM):
        runner = opened(tiny_model, "openvino", SHARED, rule, room)
        assert isinstance(runner, SharedRunner)
        free = [len(rows) for rows in runner._pool._free]
        found.append(list(infer(runner, samples)))
        assert [len(rows) for rows in runner._pool._free] == free
        assert (sum(free) > 0) is (room > 0)
        runner.close()
    for logits, some, every in zip(*found, strict=True):
        np.testing.assert_array_equal(logits, some)
        np.testing.assert_array_equal(logits, every)


def test_less_is_computed(tiny_model: Path, samples: list[HeatmapClips]) -> None:
    """Nothing twice: all twenty clips in stages are as many rows as all at once."""
    rows: list[int] = []
    counts = []
    for rule in (ALL, ClipRule(until="adaptive", factor=1e9), ClipRule(first=2)):
        runner = opened(tiny_model, "openvino", SHARED, rule, ROOM)
        assert isinstance(runner, SharedRunner)
        plain = runner._levels.run

        def counted(wave: Any, *rest: Any, plain: Any = plain) -> Any:
            rows.append(sum(int(half.rows.sum()) for half in wave))
            return plain(wave, *rest)

        runner._levels.run = counted  # type: ignore[method-assign]
        list(infer(runner, samples))
        counts.append(sum(rows))
        rows.clear()
        runner.close()
    assert counts[0] == counts[1] > 3 * counts[2]


@pytest.mark.parametrize("name", ["openvino", pytest.param("onnxruntime", marks=pytest.mark.slow)])
def test_a_fixed_batch_is_filled_by_several(
    tmp_path: Path, samples: list[HeatmapClips], name: str
) -> None:
    """A run of forty clips holds those of several samples; the last ones are padded."""
    state = random_state_dict(STRIDED)
    fixed = write_model(tmp_path / "bs2.onnx", state, STRIDED, batch=2)
    rule = ClipRule(first=3)
    runner = opened(fixed, name, CLIPS, rule)
    assert runner.step == 13
    found = list(infer(runner, samples))
    assert (runner.clips_run, runner.clips_padded) == (21, 19)
    runner.close()
    whole = opened(fixed, name, CLIPS)
    for logits, every in zip(found, infer(whole, samples), strict=True):
        scale = np.abs(every).max()
        np.testing.assert_allclose(logits, run(rule, every), rtol=0, atol=1e-5 * scale)
    whole.close()


def test_what_is_under_way_is_known(tiny_model: Path, samples: list[HeatmapClips]) -> None:
    """Whoever is complete first comes first."""
    rule = ClipRule(until="certain")
    runner = opened(tiny_model, "openvino", SHARED, rule, ROOM)
    pending = set(range(len(samples)))
    done = [key for key, _ in runner.feed(list(enumerate(samples)))]
    while not runner.idle:
        for key, logits in runner.collect():
            done.append(key)
            assert np.isfinite(average(logits)).all()
            assert set(runner.pending) == pending - set(done)
    assert sorted(done) == sorted(pending)
    runner.close()


def test_a_plan_runs_all(tiny_model: Path) -> None:
    """A compiled file of layout shared has all clips in its graph."""
    model = replace(open_model(str(tiny_model)), layout=SHARED)

    class Planned:
        """Of which no more than its kind is asked."""

        lanes, sizes, facts = 1, (48,), load_facts(tiny_model)

        def planned(self, lane: int, size: int) -> Any: ...
        def start(self, lane: int, size: int) -> None: ...
        def finish(self, lane: int) -> Any: ...
        def close(self) -> None: ...

    with pytest.raises(UsageError, match=r"--clips certain: a compiled file of layout shared runs"):
        open_runner(Planned(), model, model.recipe, ClipRule(until="certain"))


def load_facts(path: Path) -> Any:
    backend = load("openvino", open_model(str(path)), device=None, precision="f32", threads=1)
    backend.close()
    return backend.facts
