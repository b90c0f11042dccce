"""The doors of files: annotations of all kinds, model files, checkpoints."""

from __future__ import annotations

import io
import json
import random
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import orjson
from google.protobuf.message import Message as Proto

from converters.checkpoint import read_checkpoint
from converters.graph import select_weights
from engine.base.choices import SHARED
from engine.base.errors import ModelError
from engine.network.cuts import Cuts
from engine.network.models import open_model
from engine.sources.dataset import open_dataset
from tests.fuzz import pickled
from tests.fuzz.door import Door
from tests.fuzz.mutation import JSON_WORDS, NUMBERS, changed, damaged
from tests.support import DATA
from tests.support.networks import TINY, random_state_dict, write_model
from tests.support.samples import annotation, walking

_SAMPLES = 20  # of a file that are looked at


class _File(Door):
    """Files, which are bytes."""

    def _written(self, made: bytes) -> Path:
        path = self._folder / f"input{self.suffix}"
        path.write_bytes(made)
        return path


class _DataSet(_File):
    """Files of annotations: opened, and every sample read."""

    def enter(self, made: bytes) -> None:
        data = open_dataset(str(self._written(made)), split="all")
        for sample in data.samples[:_SAMPLES]:
            _ = sample.label, sample.id
            self.look(sample)


def _annotations() -> list[dict[str, Any]]:
    plain = [annotation(4, seed=1), annotation(3, persons=2, seed=2)]
    nobody = {**annotation(3, seed=3), "keypoint": np.zeros((0, 3, 17, 2))}
    nobody["keypoint_score"] = np.zeros((0, 3, 17))
    listed = {**annotation(2, seed=4), "keypoint": walking(1, 2).round(1).tolist()}
    rows = {"frame_inds": np.arange(2), "keypoint": np.ones((2, 17, 3)), "img_shape": (9, 9)}
    return [*plain, nobody, {**listed, "keypoint_score": None}, {"frame_dir": "k", **rows}]


class Pickles(_DataSet):
    """``.pkl``."""

    suffix = ".pkl"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        roots = [{"split": {"a": ["video_1"]}, "annotations": _annotations()}, _annotations()]
        self._valid = [text for root in roots for text in pickled.spelt(root)]
        self._valid += [text for one in _annotations() for text in pickled.spelt([one])]
        self._one = [pickled.spelt(one, (2,))[0] for one in _annotations()]

    def make(self, rng: random.Random) -> bytes:
        if rng.random() < 0.6:
            made = pickled.hostile(rng, rng.choice(self._one))
            return made if rng.random() < 0.8 else damaged(rng, made, self._valid, pickled.WORDS)
        return damaged(rng, rng.choice(self._valid), self._valid, pickled.WORDS)


class Archives(_DataSet):
    """``.npz``."""

    suffix = ".npz"
    _WORDS = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"\x93NUMPY", b"'descr': '|O'", b".npy")
    _TYPES = ("<f4", "<f2", "<U9", "<U0", "|S0", "|V0", "<U99999999", "|i1", "|O", "<M8[s]", ">f8")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._arrays: dict[str, bytes] = {}
        several = _annotations()[:3]
        arrays: dict[str, Any] = {
            "frame_dir": np.array([one["frame_dir"] for one in several]),
            "img_shape": np.array([one["img_shape"] for one in several]),
            "label": np.array([1, 2, 3]),
            "total_frames": np.array([4, 3, 3]),
            "split/a": np.array(["video_1"]),
        }
        for number, one in enumerate(several):
            arrays[f"{number}/keypoint"] = one["keypoint"]
            arrays[f"{number}/keypoint_score"] = one["keypoint_score"]
        for name, array in arrays.items():
            target = io.BytesIO()
            np.save(target, array)
            self._arrays[name] = target.getvalue()
        self._valid = [self._zipped(self._arrays, kind) for kind in (0, zipfile.ZIP_DEFLATED)]

    @staticmethod
    def _zipped(arrays: dict[str, bytes], kind: int) -> bytes:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", kind) as archive:
            for name, content in arrays.items():
                archive.writestr(f"{name}.npy", content)
        return target.getvalue()

    def make(self, rng: random.Random) -> bytes:
        if rng.random() < 0.4:
            return damaged(rng, rng.choice(self._valid), self._valid, self._WORDS)
        arrays = dict(self._arrays)
        for _ in range(rng.choice((1, 1, 2, 5))):
            name = rng.choice(list(arrays))
            how = rng.random()
            if how < 0.1:
                arrays[rng.choice(("7/keypoint", "split/", "/", "x", "0/x/y", "²/a"))] = arrays.pop(
                    name
                )
            elif how < 0.4:
                arrays[name] = damaged(rng, arrays[name], list(self._arrays.values()), self._WORDS)
            else:
                arrays[name] = self._headed(rng, arrays[name])
        return self._zipped(arrays, rng.choice((0, zipfile.ZIP_DEFLATED)))

    def _headed(self, rng: random.Random, content: bytes) -> bytes:
        """A header that says what it likes, before these numbers or many zeros."""
        size = rng.choice((0, 1, 2, 3, 17, 10**6, 10**9, 2**31, 2**62, -1))
        shape = rng.choice(
            ((size,), (size, 2), (2, size), (1, size, 17, 2), (size, 0), (0, size), ())
        )
        about = {
            "descr": rng.choice(self._TYPES),
            "fortran_order": rng.random() < 0.1,
            "shape": shape,
        }
        text = repr(about).encode().ljust(117) + b"\n"
        magic = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little")
        zeros = bytes(rng.choice((10**6, 10**7))) if rng.random() < 0.02 else b""
        return magic + text + content[128:] + zeros


class JsonLines(_DataSet):
    """``.jsonl``."""

    suffix = ".jsonl"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        one = {**annotation(2, seed=1), "split": ["a"]}
        nobody = {**annotation(2, seed=2), "keypoint": [], "keypoint_score": []}
        self._trees = [
            json.loads(orjson.dumps(t, default=np.ndarray.tolist)) for t in (one, nobody)
        ]
        self._valid = [b"\n".join(map(orjson.dumps, self._trees)), orjson.dumps(self._trees[0])]

    def make(self, rng: random.Random) -> bytes:
        if rng.random() < 0.35:
            return damaged(rng, rng.choice(self._valid), self._valid, JSON_WORDS)
        trees = [changed(rng, rng.choice(self._trees)) for _ in range(rng.choice((1, 1, 3)))]
        lines = [json.dumps(tree).encode("utf-8", "surrogatepass") for tree in trees]
        return b"\n".join(lines)


class Networks(_File):
    """``.onnx``: opened, and cut into parts where that can be."""

    suffix = ".onnx"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        path = write_model(folder / "valid.onnx", random_state_dict(TINY), TINY)
        self._valid = path.read_bytes()

    def make(self, rng: random.Random) -> bytes:
        if rng.random() < 0.25:
            return damaged(rng, self._valid, [self._valid], (b"Softmax", b"frames", b"\x08\x01"))
        model = onnx.ModelProto.FromString(self._valid)
        for _ in range(rng.choice((1, 1, 2, 4))):
            _change_proto(rng, model)
        return bytes(model.SerializeToString())

    def enter(self, made: bytes) -> None:
        model = open_model(str(self._written(made)))
        if model.with_layout("auto", whole_clips=False).layout == SHARED:
            Cuts.of(model.content()).planned()


def _change_proto(rng: random.Random, message: Proto) -> None:
    """Another value of a field somewhere in a message."""
    while True:
        fields = message.ListFields()
        if not fields:
            return
        # graphs first: what is beside them is little
        field, value = rng.choice([*fields, *(f for f in fields if f[0].name == "graph")] * 2)
        several = not isinstance(value, (Proto, int, float, str, bytes))
        if field.type == field.TYPE_MESSAGE and rng.random() < 0.9:
            message = rng.choice(value) if several else value
            continue
        break
    how = rng.random()
    if how < 0.2:
        message.ClearField(field.name)
    elif several and field.type == field.TYPE_MESSAGE:
        place, other = rng.randrange(len(value)), rng.randrange(len(value))
        if how < 0.5:
            del value[place]
        elif how < 0.75:
            value[place].CopyFrom(value[other])
        else:
            value.add().CopyFrom(value[place])
    elif field.type != field.TYPE_MESSAGE:
        with suppress(ValueError, TypeError):
            new = _scalar(rng, value[0] if several else value)
            if several:
                value[rng.randrange(len(value))] = new
            else:
                setattr(message, field.name, new)


_NAMES = ("", "Conv", "Reshape", "Softmax", "If", "Loop", "layout", "shared", "1", "data", "x" * 70)


def _scalar(rng: random.Random, value: Any) -> Any:
    if isinstance(value, str):
        return rng.choice((*_NAMES, value + "'", "[]", "{}", "[" * 2000, '{"clip_len": 1e999}'))
    if isinstance(value, bytes):
        return rng.choice((b"", value[:-1], value * 2, rng.randbytes(8)))
    if isinstance(value, float):
        return rng.choice((float("nan"), float("inf"), -1.0, 0.0))
    number = rng.choice(NUMBERS)
    return rng.choice((number, -number, value + 1, value - 1))


class Checkpoints(_File):
    """``.pth``, of both formats."""

    suffix = ".pth"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._valid = [(DATA / f"checkpoint_{form}.pth").read_bytes() for form in ("zip", "legacy")]
        with zipfile.ZipFile(io.BytesIO(self._valid[0])) as archive:
            self._members = {name: archive.read(name) for name in archive.namelist()}
        [self._index] = [name for name in self._members if name.endswith("data.pkl")]

    def make(self, rng: random.Random) -> bytes:
        if rng.random() < 0.3:
            return damaged(rng, rng.choice(self._valid), self._valid, pickled.WORDS)
        members = dict(self._members)
        data = members[self._index]
        how = rng.random()
        if how < 0.3:
            data = pickled.hostile(rng, pickled.spelt({"state_dict": {}}, (2,))[0])
        elif how < 0.5:
            made = pickled.program(rng, rng.choice((3, 10, 40)))
            data = b"\x80\x02}\x8c\x0astate_dict}\x8c\x01w" + made + b"ss."
        elif how < 0.95:
            data = damaged(rng, data, [data], pickled.WORDS)
        else:
            members.pop(rng.choice(list(members)))
        members[self._index] = data
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        if how < 0.5 and rng.random() < 0.3:
            return self._legacy(data)
        return target.getvalue()

    @staticmethod
    def _legacy(root: bytes) -> bytes:
        heads = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
        return b"".join([*(pickled.spelt(one, (2,))[0] for one in heads), root, root])

    def enter(self, made: bytes) -> None:
        state = read_checkpoint(self._written(made)).state_dict
        with suppress(ModelError):  # another network's
            select_weights(TINY, state)
