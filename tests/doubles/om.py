"""The file format of the doubles' ``.om``: a line of JSON, then an ONNX file.

Written by the double of ``atc``, read by that of ``aclruntime``. Real OM files look different.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx

_MAGIC = b"TEST DOUBLE, NOT AN OM\n"
WORKSPACE = 4  # times the first input: memory that a loaded model reserves


def write(
    path: Path,
    graph: bytes,
    shapes: dict[str, Sequence[int]],
    gears: Sequence[int] = (),
    fp16: Sequence[str] = (),
) -> Path:
    """An ``.om`` of an ONNX file. `shapes`: of its inputs, -1 where `gears` go."""
    model = onnx.load_model_from_string(graph)
    inputs = []
    for value in model.graph.input:
        shape = [max(gears) if n == -1 else n for n in shapes[value.name]]
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name
        kind = "float16" if value.name in fp16 else kind
        # the names of an OM's tensors are not those of the ONNX file
        inputs.append({"name": f"{value.name.replace(':', '_')}:0", "shape": shape, "dtype": kind})
    first, *rest = inputs[0]["shape"]
    columns = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    batched = len(rest) == 5  # samples of clips; else frames, and the plan of the clips
    output = {
        "name": "output_0_logits_0",
        "shape": [first * rest[0] if batched else inputs[-1]["shape"][0], columns],
        "dtype": "float32",
    }
    about = {
        "inputs": inputs,
        "outputs": [output],
        "gears": sorted(gears),
        "batch_of_output": batched,
    }
    path.write_bytes(_MAGIC + json.dumps(about).encode() + b"\n" + graph)
    path.chmod(0o640)
    return path


def read(path: Path) -> tuple[dict[str, Any], bytes]:
    """What `write` wrote. Raises `ValueError` for another file."""
    data = path.read_bytes()
    if not data.startswith(_MAGIC):
        raise ValueError("not a model file")
    line, _, graph = data[len(_MAGIC) :].partition(b"\n")
    return json.loads(line), graph


def nbytes(about: dict[str, Any]) -> int:
    return prod(about["shape"]) * np.dtype(about["dtype"]).itemsize


def execute(session: Any, arrays: Sequence[Any]) -> Any:
    """The output of an ONNX file that leaves its batch free, a sample at a time: a CPU needs the
    memory of one only then."""
    names = [value.name for value in session.get_inputs()]
    arrays = [a.astype(np.float32) if a.dtype == np.float16 else a for a in arrays]
    free = not isinstance(session.get_inputs()[0].shape[0], int)
    if len(arrays) > 1 or not free:
        return session.run(None, dict(zip(names, arrays, strict=True)))[0]
    parts = [session.run(None, {names[0]: part[None]})[0] for part in arrays[0]]
    return np.concatenate(parts)
