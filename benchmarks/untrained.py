"""Untrained models: published networks with made-up weights, for rates without the checkpoints.

How fast a network is does not depend on its weights, as long as its numbers stay ordinary: neither
do they die out, nor overflow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.architectures import SHIPPED
from converters.graph import DYNAMIC, build_clips
from converters.network import Architecture, convolutions
from converters.slowonly import SlowOnly
from engine.base.errors import UsageError
from engine.base.published import BENCHMARKS, CHECKPOINTS

PREFIX = "untrained:"
_SEED = 0


def resolve(model: str, folder: Path) -> str:
    """The path of ``untrained:NAME``'s file, written into `folder`; what else ``--model`` may be,
    as it is. NAME is that of a published checkpoint. Raises `UsageError`."""
    if not model.startswith(PREFIX):
        return model
    name = model.removeprefix(PREFIX)
    if name not in SHIPPED:
        raise UsageError(f"{model}: {name} is not in python -m engine.run --list")
    arch, recipe = SHIPPED[name]
    graph = build_clips(
        arch,
        _weights(arch),
        recipe=recipe,
        batch=DYNAMIC,
        classes=BENCHMARKS[CHECKPOINTS[name].benchmark].classes,
        source_sha256="",
    )
    path = folder / f"{name.replace('/', '-')}.onnx"
    path.write_bytes(graph.SerializeToString())
    return str(path)


def architecture(model: str) -> SlowOnly:
    """What ``--model`` names; HMDB51's for a file. Raises `UsageError` for another network."""
    arch, _ = SHIPPED.get(model.removeprefix(PREFIX), (SlowOnly(), None))
    if not isinstance(arch, SlowOnly):
        raise UsageError(f"{model} is no SlowOnly, whose operations alone are counted")
    return arch


def _weights(arch: Architecture) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(_SEED)
    found: dict[str, NDArray[Any]] = {}
    for conv in convolutions(arch):
        bound = np.sqrt(6 / np.prod(conv.shape[1:]))
        found[f"{conv.name}.conv.weight"] = rng.uniform(-bound, bound, conv.shape)
        if conv.normalised:
            # the last of a block is small, so that a sum over many blocks does not grow
            size = 1.0 if conv.activated else 0.3
            for part, value in (("weight", size), ("running_var", 1.0)):
                found[f"{conv.name}.bn.{part}"] = np.full(conv.outputs, value)
            for part in ("bias", "running_mean"):
                found[f"{conv.name}.bn.{part}"] = np.zeros(conv.outputs)
    found["fc_cls.weight"] = rng.normal(0, 0.1, (arch.num_classes, arch.features))
    found["fc_cls.bias"] = np.zeros(arch.num_classes)
    return {name: np.asarray(array, np.float32) for name, array in found.items()}
