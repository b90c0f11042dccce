"""OM files for tests, as the doubles read them, and what `converters.onnx2om` leaves beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.base.assets import file_sha256
from engine.base.constants import CLIP_LEN, CLIP_SHAPE, HMDB51, JOINTS, SIZE, VIEWS, preprocessing
from engine.network.cuts import Cuts
from engine.network.om import Description
from tests.doubles import om

INPUT = "onnx::Reshape_0"


def static(model: Path, path: Path, batch: int, **more: Any) -> Path:
    return om.write(path, model.read_bytes(), {INPUT: [batch, VIEWS, *CLIP_SHAPE]}, **more)


def geared(model: Path, path: Path, gears: Sequence[int], **more: Any) -> Path:
    return om.write(path, model.read_bytes(), {INPUT: [-1, VIEWS, *CLIP_SHAPE]}, gears, **more)


def describe(path: Path, gears: Sequence[int], *, geared: bool, **more: Any) -> Path:
    about: dict[str, Any] = {
        "layout": "clips",
        "gears": tuple(gears),
        "geared": geared,
        "dtype": "float32",
        "precision": "f16",
        "classes": HMDB51,
        "preprocessing": preprocessing(),
        "soc_version": "Ascend310P3",
        "sha256": file_sha256(path),
    }
    Description(**{**about, **more}).write(path)
    return path


def planned(model: Path, path: Path, uniques: Sequence[int], *, geared: bool) -> Path:
    """An OM, or several separated by commas, of layout ``shared``."""
    graph = Cuts.of(model.read_bytes()).planned().SerializeToString()
    sizes = [tuple(2 * u for u in uniques)] if geared else [(2 * u,) for u in uniques]
    paths = []
    for gears in sizes:
        first = -1 if geared else gears[0]
        shapes = {"frames": [first, JOINTS, SIZE, SIZE], "plan": [VIEWS, CLIP_LEN]}
        name = path.with_name(f"{path.stem}_{gears[-1]}.om")
        om.write(name, graph, shapes, gears if geared else ())
        paths.append(describe(name, gears, geared=geared, layout="shared"))
    return Path(",".join(map(str, paths)))
