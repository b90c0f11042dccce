"""Small films with something to find in them, and a model that finds it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
from onnx import TensorProto, helper

WIDTH, HEIGHT, SIDE = 160, 120, 16
BODY = np.float32([(8 * (joint % 4), 12 * (joint // 4)) for joint in range(17)])  # from x, y


def corner(number: int) -> tuple[int, int]:
    """Where the white square of a frame is: its left upper corner."""
    return 8 + 2 * number, 40


def picture(number: int) -> Any:
    """A white square that moves to the right over black."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    x, y = corner(number)
    pixels[y : y + SIDE, x : x + SIDE] = 255
    return pixels


def film(
    path: Path, frames: int = 30, *, codec: str = "libx264", rate: int = 30, **title: str
) -> Path:
    """A film of so many frames, in the format that its name says."""
    with av.open(str(path), "w") as container:
        container.metadata.update(title)
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "rgb24" if codec == "png" else "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def rtmo(path: Path, side: int = 160) -> Path:
    """RTMO's inputs and outputs around a rule: one person, whose joints are so far (`BODY`) from
    the brightest column and row; of no score where nothing is bright."""
    nodes = [
        *_brightest(),
        helper.make_node("Concat", ["x", "y", "score"], ["joint"], axis=1),
        helper.make_node("Reshape", ["joint", "as_joint"], ["single"]),
        helper.make_node("Add", ["single", "body"], ["keypoints"]),
        helper.make_node("Concat", ["x", "y", "x", "y", "score"], ["box"], axis=1),
        helper.make_node("Reshape", ["box", "as_box"], ["dets"]),
    ]
    body = np.concatenate([BODY, np.zeros((17, 1), np.float32)], axis=1)[None, None]
    shapes = {"as_joint": [1, 1, 1, 3], "as_box": [1, 1, 5]}
    outputs = {"dets": [1, 1, 5], "keypoints": [1, 1, 17, 3]}
    constants = {"body": body, **{name: np.array(shape) for name, shape in shapes.items()}}
    return _save(path, nodes, constants, side, side, outputs)


def yolox(path: Path, side: int = 96) -> Path:
    """YOLOX's inputs and outputs (with its selection of boxes inside) around a rule: one box, 10
    pixels about the brightest column and row; of no score where nothing is bright."""
    nodes = [
        *_brightest(),
        helper.make_node("Concat", ["x", "y", "x", "y", "score"], ["point"], axis=1),
        helper.make_node("Add", ["point", "about"], ["box"]),
        helper.make_node("Reshape", ["box", "as_box"], ["dets"]),
    ]
    constants = {"about": np.float32([[-10, -10, 10, 10, 0]]), "as_box": np.array([1, 1, 5])}
    return _save(path, nodes, constants, side, side, {"dets": [1, 1, 5]})


def rtmpose(path: Path, height: int = 64, width: int = 48) -> Path:
    """RTMPose's inputs and outputs around a rule: all joints in the middle of what it is shown."""
    middle = {
        name: np.eye(1, 2 * side, side, dtype=np.float32).repeat(17, 0)[None]
        for name, side in (("simcc_x", width), ("simcc_y", height))
    }
    nodes = [
        *_brightest(),
        helper.make_node("Mul", ["score", "nought"], ["zero"]),
        *(helper.make_node("Add", [f"{name}_", "zero"], [name]) for name in middle),
    ]
    constants = {f"{name}_": value for name, value in middle.items()} | {"nought": np.float32([0])}
    shapes = {name: list(value.shape) for name, value in middle.items()}
    return _save(path, nodes, constants, height, width, shapes)


def _brightest() -> list[onnx.NodeProto]:
    """x, y: the first column and row with the brightest of a picture; score: 1 if it is white."""
    cast = {"to": TensorProto.FLOAT}
    return [
        helper.make_node("ReduceMax", ["input"], ["columns"], axes=[1, 2], keepdims=0),
        helper.make_node("ReduceMax", ["input"], ["rows"], axes=[1, 3], keepdims=0),
        helper.make_node("ArgMax", ["columns"], ["column"], axis=1, keepdims=1),
        helper.make_node("ArgMax", ["rows"], ["row"], axis=1, keepdims=1),
        helper.make_node("Cast", ["column"], ["x"], **cast),
        helper.make_node("Cast", ["row"], ["y"], **cast),
        helper.make_node("ReduceMax", ["columns"], ["most"], axes=[1], keepdims=1),
        helper.make_node("Greater", ["most", "white"], ["is_white"]),
        helper.make_node("Cast", ["is_white"], ["score"], **cast),
    ]


def _save(
    path: Path,
    nodes: list[Any],
    constants: dict[str, Any],
    height: int,
    width: int,
    outputs: dict[str, list[int]],
) -> Path:
    constants = {**constants, "white": np.float32([200])}
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, height, width])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path
