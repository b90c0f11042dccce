"""Compiled networks that are kept: the same bits as compiled anew, and never what is damaged."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.backends import compilations
from engine.backends.compilations import Compilations
from engine.backends.registry import load
from engine.base import assets
from engine.base.choices import LAYOUTS, SHARED, Layout, Precision
from engine.base.recipe import HMDB51_RECIPE
from engine.network.models import open_model
from engine.network.recogniser import infer
from engine.network.runners.opening import open_runner
from engine.skeletons.clips import decode
from engine.skeletons.poses import PoseSequence
from tests.support.networks import TINY, random_state_dict, write_model
from tests.support.processor import needs_bf16
from tests.support.samples import annotation

DIGEST = hashlib.sha256().digest_size


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a cache of this test's own."""
    monkeypatch.setenv("ENGINE_CACHE_DIR", str(tmp_path / "cache"))
    return assets.cache_dir() / "compiled"


def logits(
    path: Path, layout: Layout = SHARED, precision: Precision = "f32", threads: int = 2
) -> bytes:
    """The bits that a model makes of one sample."""
    model = replace(open_model(str(path)), layout=layout)
    backend = load("openvino", model, device=None, precision=precision, threads=threads)
    runner = open_runner(backend, model, model.recipe)
    clips = decode(PoseSequence.from_annotation(annotation(30, seed=3)), HMDB51_RECIPE)
    [found] = infer(runner, [clips])
    runner.close()
    return np.asarray(found).tobytes()


def written(cache: Path) -> dict[Path, tuple[int, int]]:
    """The files there, and what tells whether one has been written again."""
    return {path: (path.stat().st_ino, path.stat().st_size) for path in sorted(cache.iterdir())}


@pytest.mark.parametrize("precision", ["f32", pytest.param("bf16", marks=needs_bf16), "int8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_bits_and_compiled_once(
    request: pytest.FixtureRequest, cache: Path, layout: Layout, precision: Precision
) -> None:
    model = "quantised_model" if precision == "int8" else "tiny_model"
    path: Path = request.getfixturevalue(model)
    anew = logits(path, layout, precision)
    kept = written(cache)
    assert len(kept) == 1 if layout != SHARED else len(kept) > 1
    assert logits(path, layout, precision) == anew
    assert written(cache) == kept


def test_what_is_damaged_is_made_again(
    tiny_model: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    anew = logits(tiny_model)
    whole = {path: path.read_bytes() for path in cache.iterdir()}
    flipped, cut, empty, foreign = list(whole)[:4]
    content = bytearray(whole[flipped])
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    cut.write_bytes(whole[cut][:-1])
    empty.write_bytes(b"")
    foreign.write_bytes(hashlib.sha256(b"OpenVINO").digest() + b"OpenVINO")  # whole, and no network
    with caplog.at_level(logging.WARNING, logger="engine"):
        assert logits(tiny_model) == anew
    for path in (flipped, cut, empty):
        assert f"{path} is not what was written; compiling again" in caplog.messages
    assert sum(message.startswith(f"{foreign}: ") for message in caplog.messages) == 1
    assert len(caplog.messages) == 4
    for path in whole:
        found = path.read_bytes()
        assert hashlib.sha256(found[DIGEST:]).digest() == found[:DIGEST]
    caplog.clear()
    assert logits(tiny_model) == anew
    assert caplog.messages == []


def test_another_network_and_other_settings_have_files_of_their_own(
    tiny_model: Path, tmp_path: Path, cache: Path
) -> None:
    found = logits(tiny_model)
    first = written(cache)
    logits(tiny_model, threads=1)
    second = written(cache)
    assert len(second) == 2 * len(first)
    other = write_model(tmp_path / "other.onnx", random_state_dict(TINY, seed=1), TINY)
    assert logits(other) != found
    assert len(written(cache)) == 3 * len(first)


def test_what_decides_is_in_the_name() -> None:
    asked = {"NUM_STREAMS": 2}
    names = {
        Compilations({"openvino": "1"}).path(b"network", asked),
        Compilations({"openvino": "2"}).path(b"network", asked),
        Compilations({"openvino": "1"}).path(b"another", asked),
        Compilations({"openvino": "1"}).path(b"network", {"NUM_STREAMS": 1}),
    }
    assert len(names) == 4
    assert Compilations({"openvino": "1"}).path(b"network", asked) in names


def test_processes_at_once(tiny_model: Path, cache: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from {__name__} import logits
sys.stdout.buffer.write(logits(Path({str(tiny_model)!r})))
"""
    together = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=os.environ)
        for _ in range(3)
    ]
    bits = [process.communicate(timeout=300)[0] for process in together]
    assert [process.returncode for process in together] == [0, 0, 0]
    kept = written(cache)
    assert {path.suffix for path in kept} == {".compiled"}  # nothing unfinished is left
    for path in kept:
        found = path.read_bytes()
        assert hashlib.sha256(found[DIGEST:]).digest() == found[:DIGEST]
    assert set(bits) == {logits(tiny_model)}
    assert written(cache) == kept


def test_a_cache_that_cannot_be_written_is_told_of_once(
    tiny_model: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    anew = logits(tiny_model)
    for path in cache.iterdir():
        path.unlink()
    cache.rmdir()
    cache.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING, logger="engine"):
        assert logits(tiny_model) == anew
    [said] = caplog.messages
    assert said.startswith("compiled networks are not kept")
    assert str(cache) in said


def test_the_longest_unused_go_for_room(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilations, "_MOST_BYTES", 3 * (DIGEST + 100))
    kept = Compilations({})
    paths = [kept.path(bytes([number]), {}) for number in range(4)]
    for age, path in enumerate(paths[:3]):
        kept.keep(path, bytes(100))
        os.utime(path, (1e9 + age, 1e9 + age))
    assert kept.find(paths[0]) == bytes(100)  # and it is the last used
    kept.keep(paths[3], bytes(100))
    assert [path.exists() for path in paths] == [True, False, True, True]
