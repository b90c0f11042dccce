"""One graph: a network whose frames or contexts are computed once, as an ONNX file.

Comes in: a model of layout ``clips``. Goes out: the files of layouts ``shared`` and ``frames`` of
`converters.onnx2om`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import onnx

from engine.base.errors import ModelError
from engine.base.files import write_atomically
from engine.network.chain import Chain
from engine.network.metadata import recipe_to_file
from engine.network.model_file import ModelFile
from engine.network.static import mark


def chain_of(model: ModelFile) -> Chain:
    """The network, to be written as one graph. Raises `ModelError` where it cannot be cut."""
    try:
        return Chain(onnx.load_model_from_string(model.content()))
    except ModelError as error:
        raise ModelError(f"{model.path}: {error}; --layout clips takes any") from None


def write_graph(path: Path, chain: Chain, model: ModelFile, rows: Sequence[int] | None) -> None:
    """Write the graph of so many frames and, level by level, contexts; None: of frames and a plan,
    for any number of frames. Raises `OutputError`."""
    if rows is None:
        graph = chain.planned()
    else:
        source = onnx.load_model_from_string(model.content())
        about = {
            **{p.key: p.value for p in source.metadata_props},
            "classes": json.dumps(list(model.classes)),
            "preprocessing": json.dumps(recipe_to_file(model.recipe)),
            "made_of": model.sha256,
        }
        graph = mark(chain.graph(rows), about, chain.strides)
    write_atomically(path, lambda target: target.write(graph.SerializeToString()))
