"""Peers: what else one can do with the same samples and weights, each as a rate.

- `pure`: the unmodified network on ready clips, no preprocessing, as OpenVINO's own benchmark
  tool measures;
- `recipe`: the NPU recipe's three steps with their files, ONNX Runtime in place of the NPU;
- `torch_loader`: as mmaction2's ``tools/test.py`` runs it: a torch model fed by a DataLoader;
- `ceiling`: operations a second that the machine reaches at its best.

The recipe and the torch way use our preprocessing, which is faster than theirs. What they
cost does not depend on the length of a video.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from engine.backends.openvino import executed_precision, float_precision
from engine.base import host
from engine.base.assets import demo_checkpoint
from engine.base.errors import UsageError
from engine.network.models import open_model
from engine.preprocessing import preprocess

Measure = Callable[[], float]
_PURE_SAMPLES = 8
_PEER_SAMPLES = 3  # of each measurement; rounds add up
_LOADER_WORKERS = 2  # as the configuration has it


def pure(model: str, precision: str) -> Measure:
    """Samples/s of the network alone: the faster of the runtime's own choice for throughput
    and one stream of all threads."""
    choices: list[dict[str, object]] = [{"PERFORMANCE_HINT": "THROUGHPUT"}, {"NUM_STREAMS": 1}]
    found = [_pure_with(model, precision, choice) for choice in choices]
    return max(found, key=lambda measure: measure())


def _pure_with(model: str, precision: str, choice: dict[str, object]) -> Measure:
    core, file = ov.Core(), open_model(model)
    network = core.read_model(file.content())
    shape = (1, 1, *file.recipe.clip_shape)
    network.reshape(list(shape))
    settings = {
        "INFERENCE_PRECISION_HINT": float_precision(core, "CPU", precision),
        "INFERENCE_NUM_THREADS": host.cores(),
    }
    compiled = core.compile_model(network, "CPU", {**settings, **choice})
    if executed_precision(compiled) != precision:
        raise UsageError(f"OpenVINO executes {executed_precision(compiled)}, not {precision}")
    queue = ov.AsyncInferQueue(compiled, int(compiled.get_property("NUM_STREAMS")) + 1)
    clip = np.random.default_rng(0).random(shape, np.float32)
    for request in queue:
        request.set_input_tensor(ov.Tensor(clip.copy()))

    def measure() -> float:
        start = time.monotonic()
        for _ in range(_PURE_SAMPLES * file.recipe.views):
            queue.start_async()
        queue.wait_all()
        return _PURE_SAMPLES / (time.monotonic() - start)

    return measure


def recipe(path: Path, model: str, folder: Path) -> Measure | None:
    """Samples/s of preprocessing to ``.bin``, inference over the folder, postprocessing; None
    where ONNX Runtime is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = host.cores()
    opened = open_model(model)
    session = onnxruntime.InferenceSession(
        str(opened.path), options, providers=["CPUExecutionProvider"]
    )
    shape = (1, opened.recipe.views, *opened.recipe.clip_shape)
    name = session.get_inputs()[0].name
    annotations = pickle.loads(path.read_bytes())[:_PEER_SAMPLES]

    def measure() -> float:
        start = time.monotonic()
        for number, annotation in enumerate(annotations):
            preprocess(annotation, model=str(opened.path)).tofile(folder / f"{number}.bin")
        for file in sorted(folder.glob("*.bin")):
            clips = np.fromfile(file, np.float32).reshape(shape)
            np.save(file.with_suffix(".npy"), session.run(None, {name: clips})[0])
            file.unlink()
        for file in folder.glob("*.npy"):
            logits = np.load(file)
            exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
            (exponent / exponent.sum(axis=1, keepdims=True)).mean(axis=0).argsort()
            file.unlink()
        return len(annotations) / (time.monotonic() - start)

    return measure


def torch_loader(path: Path) -> Measure | None:
    """Samples/s of the demo's weights in torch, None where torch is not installed."""
    try:
        import torch
        from torch.utils.data import DataLoader
    except ImportError:
        return None
    from converters.slowonly import SlowOnly
    from converters.torch_network import Network

    network = Network(SlowOnly(), dropout=0).eval()
    state = torch.load(demo_checkpoint(), weights_only=True)["state_dict"]
    lacking, unknown = network.load_state_dict(
        {name: tensor.float() for name, tensor in state.items()}, strict=False
    )
    assert not unknown
    assert all(name.endswith("num_batches_tracked") for name in lacking)
    annotations = pickle.loads(path.read_bytes())[:_PEER_SAMPLES]
    torch.set_num_threads(host.cores())

    def measure() -> float:
        start = time.monotonic()
        loader = DataLoader(
            _Clips(annotations),
            batch_size=1,
            num_workers=_LOADER_WORKERS,  # type: ignore[arg-type]
        )
        with torch.no_grad():
            for clips in loader:
                _plain_forward(network, clips[0]).softmax(dim=1).mean(dim=0).topk(5)
        return len(annotations) / (time.monotonic() - start)

    return measure


class _Clips:
    """A data set as torch's loader takes it."""

    def __init__(self, annotations: list[dict[str, Any]]) -> None:
        self._annotations = annotations

    def __len__(self) -> int:
        return len(self._annotations)

    def __getitem__(self, index: int) -> Any:
        return preprocess(self._annotations[index])


def _plain_forward(network: Any, x: Any) -> Any:
    """The network by three-dimensional convolutions and normalisations, as mmaction2 has it."""
    from torch.nn import functional

    def conv_bn(module: Any, x: Any) -> Any:
        layer, bn = module.layer, module.bn
        y = functional.conv3d(
            x, module.conv.weight, stride=layer.stride, padding=tuple(layer.padding)
        )
        return functional.batch_norm(
            y, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps
        )

    x = functional.relu(conv_bn(network.backbone.get_submodule("conv1"), x))
    step = network.pool_stride
    x = functional.max_pool3d(x, (1, 3, 3), (1, step, step), (0, 1, 1))
    for block in network.blocks:
        shortcut = x if block.downsample is None else conv_bn(block.downsample, x)
        y = functional.relu(conv_bn(block.conv1, x))
        y = functional.relu(conv_bn(block.conv2, y))
        x = functional.relu(conv_bn(block.conv3, y) + shortcut)
    return network.cls_head.get_submodule("fc_cls")(x.mean(dim=(2, 3, 4)))


def ceiling(precision: str) -> tuple[float, str]:
    """Operations/s of the best of the installed libraries, and which that is: a large matrix
    product and a large 3x3 convolution in OpenVINO, a matrix product in numpy (f32)."""
    graphs = {"matrix product": _product(), "convolution": _convolution()}
    found = {f"OpenVINO, {name}": _graph_rate(g, precision) for name, g in graphs.items()}
    if precision == "f32":
        a = np.random.default_rng(0).random((2048, 2048), np.float32)
        found["numpy, matrix product"] = _best(lambda: a @ a, 2 * 2048**3)
    name = max(found, key=lambda key: found[key])
    return found[name], name


def _product() -> tuple[ov.Model, float]:
    side = 2048
    data = ov.opset13.parameter([side, side], np.float32)
    weight = np.random.default_rng(0).random((side, side), np.float32)
    return ov.Model([ov.opset13.matmul(data, weight, False, False)], [data]), 2.0 * side**3


def _convolution() -> tuple[ov.Model, float]:
    rows, channels, side = 16, 256, 28
    data = ov.opset13.parameter([rows, channels, side, side], np.float32)
    weight = np.random.default_rng(0).random((channels, channels, 3, 3), np.float32)
    graph = ov.opset13.convolution(data, weight, [1, 1], [1, 1], [1, 1], [1, 1])
    return ov.Model([graph], [data]), 2.0 * rows * channels * channels * 9 * side * side


def _graph_rate(graph: tuple[ov.Model, float], precision: str) -> float:
    model, operations = graph
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": host.cores(),
        "NUM_STREAMS": 1,
    }
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    return _best(request.infer, operations)


def _best(run: Callable[[], object], operations: float) -> float:
    """The highest rate of thirty runs."""
    run()
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return operations / min(seconds)
