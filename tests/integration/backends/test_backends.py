"""Both runtimes behind the one protocol, with the real runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.slowonly import SlowOnly
from engine.backends import registry
from engine.backends.registry import choose, load
from engine.base.constants import CLIP_SHAPE, Reference
from engine.base.errors import ModelError, UsageError
from engine.network.backend import ClipsBackend
from engine.network.models import open_model
from tests.support.networks import TINY, random_state_dict, write_model
from tests.support.processor import BF16

NAMES = ["openvino", "onnxruntime"]
SETTINGS: dict[str, Any] = {"device": None, "precision": "f32", "threads": 2}


def clips(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(count).random((count, *CLIP_SHAPE), np.float32)


def run(backend: ClipsBackend, data: Any) -> Any:
    start(backend, 0, data)
    return backend.finish(0)


def start(backend: ClipsBackend, lane: int, data: Any) -> None:
    clips = backend.clips(lane, len(data))
    clips[:] = data
    backend.start(lane, len(data))


def rows(backend: ClipsBackend, count: int) -> Any:
    data = clips(count)
    size = backend.sizes[0]
    return np.concatenate([run(backend, data[i : i + size]) for i in range(0, count, size)])


def test_both_are_registered() -> None:
    assert set(NAMES) <= set(registry.available())


@pytest.mark.parametrize("name", NAMES)
def test_facts_and_sizes(tiny_model: Path, name: str) -> None:
    backend = load(name, open_model(str(tiny_model)), **SETTINGS)
    assert backend.facts.precision == "f32"
    assert backend.facts.threads == 2
    assert backend.sizes == {"openvino": (1,), "onnxruntime": (20,)}[name]
    backend.close()


def test_backends_agree(tiny_model: Path) -> None:
    model = open_model(str(tiny_model))
    found = []
    for name in NAMES:
        backend = load(name, model, **SETTINGS)
        found.append(rows(backend, 20))
        backend.close()
    assert found[0].shape == (20, 51)
    assert found[0].dtype == np.float32
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_fixed_batch_is_kept(tmp_path: Path, name: str) -> None:
    path = write_model(tmp_path / "bs2.onnx", random_state_dict(TINY), TINY, batch=2)
    backend = load(name, open_model(str(path)), **SETTINGS)
    assert backend.sizes == (40,)
    assert run(backend, clips(40)).shape == (40, 51)
    backend.close()


@pytest.mark.parametrize("name", NAMES)
def test_results_are_the_callers(tiny_model: Path, name: str) -> None:
    backend = load(name, open_model(str(tiny_model)), **SETTINGS)
    data = clips(backend.sizes[0])
    first = run(backend, data)
    kept = first.copy()
    run(backend, data[::-1].copy() * 3)
    np.testing.assert_array_equal(first, kept)
    backend.close()


@pytest.mark.parametrize("name", NAMES)
def test_lanes_are_independent(tiny_model: Path, name: str) -> None:
    backend = load(name, open_model(str(tiny_model)), **SETTINGS)
    size = backend.sizes[0]
    data = clips(size * backend.lanes)
    parts = [data[i * size : (i + 1) * size] for i in range(backend.lanes)]
    alone = [run(backend, part) for part in parts]
    for lane, part in enumerate(parts):
        start(backend, lane, part)
    for lane in reversed(range(backend.lanes)):
        np.testing.assert_array_equal(backend.finish(lane), alone[lane])
    backend.close()


@pytest.mark.parametrize("name", NAMES)
def test_unknown_device(tiny_model: Path, name: str) -> None:
    with pytest.raises(UsageError, match="'Abacus'"):
        load(name, open_model(str(tiny_model)), **{**SETTINGS, "device": "Abacus"})


def test_options_of_a_provider(tiny_model: Path) -> None:
    model = open_model(str(tiny_model))
    device = "CPUExecutionProvider:arena_extend_strategy=kSameAsRequested"
    assert choose("auto", device)[0] == "onnxruntime"
    backend = load("onnxruntime", model, **{**SETTINGS, "device": device})
    assert backend.facts.device == "CPUExecutionProvider"
    backend.close()
    for wrong, message in (
        ("CPUExecutionProvider:arena", "options are written PROVIDER:name=value"),
        ("CUDAExecutionProvider:use_tf32=1", "use_tf32 follows from --precision"),
        ("CANNExecutionProvider:device_id=0", "no provider 'CANNExecutionProvider' here"),
    ):
        with pytest.raises(UsageError, match=message):
            load("onnxruntime", model, **{**SETTINGS, "device": wrong})


@pytest.mark.parametrize("name", NAMES)
def test_bf16_is_executed_or_refused(tiny_model: Path, name: str) -> None:
    model = open_model(str(tiny_model))
    if name == "openvino" and BF16:
        backend = load(name, model, **{**SETTINGS, "precision": "bf16"})
        assert backend.facts.precision == "bf16"
        exact = load(name, model, **SETTINGS)
        a, b = rows(backend, 2), rows(exact, 2)
        assert 0 < np.abs(a - b).max() < 0.1 * np.abs(b).max()
        backend.close()
        exact.close()
    else:
        with pytest.raises(UsageError, match="executes f32 .*not --precision bf16"):
            load(name, model, **{**SETTINGS, "precision": "bf16"})


@pytest.mark.parametrize("name", NAMES)
def test_int8_is_for_quantised_files(tiny_model: Path, quantised_model: Path, name: str) -> None:
    with pytest.raises(UsageError, match="which .*tiny.onnx is not; python -m converters.quantize"):
        load(name, open_model(str(tiny_model)), **{**SETTINGS, "precision": "int8"})
    model = open_model(str(quantised_model))
    assert model.precision == "int8"
    with pytest.raises(UsageError, match="int8.onnx is quantised: run it with --precision int8"):
        load(name, model, **SETTINGS)


@pytest.mark.parametrize("name", NAMES)
def test_broken_graph(tmp_path: Path, name: str) -> None:
    """A file that looks right from outside but cannot be executed."""
    import onnx

    path = write_model(tmp_path / "a.onnx", random_state_dict(TINY), TINY)
    model = onnx.load(str(path))
    model.graph.node[2].op_type, model.graph.node[2].domain = "Nothing", "nobody"
    model.opset_import.append(onnx.helper.make_opsetid("nobody", 1))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="cannot load"):
        load(name, open_model(str(path)), **SETTINGS)


def test_choice() -> None:
    assert choose("onnxruntime")[0] == "onnxruntime"
    name, reason = choose("auto")
    assert name == "openvino"
    assert "CPU" in reason
    assert choose("auto", "CUDAExecutionProvider")[0] == "onnxruntime"
    with pytest.raises(UsageError, match="not registered; known: .*openvino"):
        choose("tpu")


RECORDED: dict[Reference, tuple[str, str]] = {
    "0.24.1": ("model.npz", "logits_float64"),  # computed in double precision
    "1.x": ("model_v1.npz", "logits"),
}


@pytest.mark.parametrize("name", ["openvino", pytest.param("onnxruntime", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("video", "reference"),
    [
        ("01", "0.24.1"),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in (("01", "1.x"), ("08", "0.24.1"), ("11", "1.x"))
        ),
        *(pytest.param(*one, marks=pytest.mark.full) for one in (("08", "1.x"), ("11", "0.24.1"))),
    ],
)
def test_recorded_logits(
    golden: Path, tmp_path: Path, video: str, reference: Reference, name: str
) -> None:
    """The golden model with random weights, in both references."""
    import importlib.util

    from engine.preprocessing import preprocess
    from engine.sources.annotations import read_annotations

    spec = importlib.util.spec_from_file_location("make_weights", golden / "make_weights.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    arch = SlowOnly()
    path = write_model(tmp_path / "golden.onnx", script.state_dict(), arch)
    annotation = read_annotations(golden / "annotations.pkl").annotations[int(video)]
    tensor = preprocess(annotation, reference)
    backend = load(name, open_model(str(path)), **SETTINGS)
    size = backend.sizes[0]
    logits = np.concatenate([run(backend, tensor[i : i + size]) for i in range(0, 20, size)])
    backend.close()
    file, key = RECORDED[reference]
    with np.load(golden / file) as arrays:
        np.testing.assert_allclose(logits, arrays[f"{video}/{key}"], rtol=0, atol=2e-4)
