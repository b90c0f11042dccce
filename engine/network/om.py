"""Compiled models: OM files of Ascend NPUs, and what is known of them.

An OM carries none of our metadata and its runtime hides for which batch sizes it was compiled
(its *gears*), so `converters.onnx2om` writes ``NAME.om.json`` beside ``NAME.om``. Read by
`engine.network.models`; opens no device. Static ONNX files (`engine.network.static`) are described
and run alike.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from math import prod
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from engine.base import assets
from engine.base.assets import Content
from engine.base.choices import CLIPS, CONTEXTS
from engine.base.errors import ModelError, UsageError
from engine.base.files import write_json
from engine.base.recipe import Recipe

SUFFIX = ".om"
DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class Interface:
    """What a compiled network takes and gives. A gear is the first dimension of its first input:
    samples in layout ``clips``, otherwise frames. `layout`: as files call it. `levels`: in
    layout ``contexts``, by gear, how many rows each level has.
    """

    layout: str
    recipe: Recipe
    levels: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether it takes whole clips."""
        return self.layout == CLIPS

    @property
    def tabled(self) -> bool:
        """Whether it takes tables of contexts."""
        return self.layout == CONTEXTS

    @property
    def unit(self) -> int:
        """Of a gear: a sample, or a distinct frame, which may come with a flipped twin."""
        return 2 if self.recipe.flip and not self.whole else 1

    def inputs(self, gear: int) -> list[tuple[int, ...]]:
        """Shapes: whole clips, or frames and a plan, or frames, tables and what rows count in
        clips. Raises `ModelError` for a gear whose tables are not known."""
        recipe = self.recipe
        if self.whole:
            return [(gear, recipe.views, *recipe.clip_shape)]
        frames = (gear, *recipe.frame_shape)
        if not self.tabled:
            return [frames, (recipe.views, recipe.length)]
        if (levels := self.levels.get(gear)) is None:
            raise ModelError(f"a graph of {gear} frames, of which nothing says how many contexts")
        last = (levels or (gear,))[-1]
        return [frames, *((3, count) for count in levels), (recipe.views, last)]

    def room(self, gear: int) -> list[tuple[int, ...]]:
        """Shapes that hold the inputs of this gear and of smaller ones."""
        if not self.tabled:
            return self.inputs(gear)
        known = [self.inputs(one) for one in self.levels if one <= gear]
        return [tuple(map(max, *shapes, shapes[0])) for shapes in zip(*known, strict=True)]

    def types(self, dtype: str) -> list[str]:
        """Of the inputs; `dtype`: of the first of them."""
        if self.whole:
            return [dtype]
        if not self.tabled:
            return [dtype, "int32"]
        [levels] = {len(levels) for levels in self.levels.values()}
        return [dtype, *["int32"] * levels, "float32"]

    def rows(self, gear: int) -> int:
        """Clips of a run, each of which gets a row of logits."""
        return self.recipe.views * (gear if self.whole else 1)

    def size(self, gear: int) -> int:
        """Of a run, as backends count: clips, or frames."""
        return self.rows(gear) if self.whole else gear

    def gear(self, size: int) -> int:
        """Of a run of a size."""
        return size // self.size(1)


def within(array: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """The first part of a contiguous array, as one of a smaller shape."""
    return array.reshape(-1)[: prod(shape)].reshape(shape)


@dataclass(frozen=True)
class Description:
    """What ``NAME.om.json`` says of ``NAME.om``.

    `gears`: how large the first dimension of the first input may be, ascending: samples in
    layout ``clips``, otherwise frames. `geared`: whether one graph has them all
    (``--dynamic_batch_size``); otherwise there is one. `dtype`: of that input. `precision`,
    `network` and `split`: as of a `ModelFile`; `published`: the name of the checkpoint there.
    `strides` and `levels`: in layout ``contexts``, the temporal stride of each level and how many
    rows it has. `made_of`: the SHA-256 of the model file that it was made of, hex. These are left
    out where they are None. `sha256`: of the OM.
    """

    layout: str
    gears: tuple[int, ...]
    geared: bool
    dtype: str
    precision: str
    classes: tuple[str, ...]
    preprocessing: dict[str, Any]
    soc_version: str
    sha256: str
    network: str | None = None
    split: str | None = None
    published: str | None = None
    strides: tuple[int, ...] | None = None
    levels: tuple[int, ...] | None = None
    made_of: str | None = None

    def write(self, om: Path) -> None:
        """Write it beside an OM. Raises `OutputError`."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        write_json(_sidecar(om), known)


@dataclass(frozen=True)
class CompiledFile:
    """An OM or a static ONNX file to load, of that SHA-256, hex. `gears` are empty and `geared` and
    `soc_version` None where nothing says so; `levels` as of a `Description`."""

    path: Path
    sha256: str
    gears: tuple[int, ...] = ()
    geared: bool | None = None
    soc_version: str | None = None
    levels: tuple[int, ...] = ()

    def content(self) -> bytes:
        """Its bytes. Raises `ModelError` where the file is another one now. To be asked when the
        runtime has read it, by the path and at a time of its own."""
        return read_unchanged(self.path, self.sha256)


def read_unchanged(path: Path, sha256: str) -> bytes:
    """The bytes of a model file that was opened before, perhaps by another process. Raises
    `ModelError` where they are no longer to be had."""
    try:
        found = Content.of(path)
    except OSError:
        found = None
    if found is None or found.sha256 != sha256:
        raise ModelError(
            f"{path} is not the file that this run began with: it was replaced or changed "
            "meanwhile. Put that one back, or begin anew"
        )
    return found.data


def _sidecar(om: Path) -> Path:
    return om.with_name(f"{om.name}.json")


def describe(om: Path) -> Description | None:
    """What the file beside an OM says; None where there is none. Raises `ModelError`."""
    path = _sidecar(om)
    if not path.is_file():
        return None
    again = "python -m converters.onnx2om MODEL.onnx --describe writes it anew"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        values = {
            f.name: found[f.name] if f.default is MISSING else found.get(f.name)
            for f in fields(Description)
        }
        for name in ("network", "split", "published", "made_of"):
            if not isinstance(values[name], str | None):
                raise TypeError(f"{name} {values[name]!r:.40}")
        for name in ("gears", "classes", "strides", "levels"):
            if values[name] is not None:
                values[name] = tuple(values[name])
        description = Description(**values)
        gears = description.gears
        if not gears or list(gears) != sorted({int(gear) for gear in gears}) or gears[0] < 1:
            raise ValueError(f"gears {gears}")
        if description.dtype not in DTYPES:
            raise ValueError(f"dtype {description.dtype!r}")
        if len(gears) > 1 and (not description.geared or description.layout == CONTEXTS):
            raise ValueError(f"a static graph of gears {gears}")
        if description.layout == CONTEXTS:
            _check_levels(description)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{path} is damaged ({error!r:.200}); {again}") from None
    if description.sha256 != assets.file_sha256(om):
        raise ModelError(f"{path} describes another file than {om.name} is now; {again}")
    return description


def _check_levels(description: Description) -> None:
    """Raise `ValueError` unless it says of each level how large it is and how it strides."""
    strides, levels = description.strides, description.levels
    if strides is None or levels is None or len(strides) != len(levels):
        raise ValueError(f"levels {levels} with strides {strides}")
    if not all(type(number) is int and number > 0 for number in (*strides, *levels)):
        raise ValueError(f"levels {levels} with strides {strides}")


def check_path(om: Path) -> Path:
    """The path as the runtime will be told it.

    Raises `ModelError` for one that the runtime would refuse without a reason, which it does
    for its own rules: a regular file, owned safely, of a name that it can spell.
    """
    path = om.resolve()
    text = str(path)
    if unfit := unfit_characters(path):
        raise ModelError(
            f"{path}: the runtime takes letters, digits and _ . / - in a path only, not "
            f"{unfit}; move the file"
        )
    if len(path.parts) > 32 or len(path.name) > 255 or len(text) > 4096:
        raise ModelError(f"{path}: the path is too long for the runtime; move the file")
    mode = path.stat().st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH) or not mode & stat.S_IRUSR:
        raise ModelError(
            f"{path} can be written by others (mode {mode & 0o777:o}), which the runtime refuses: "
            "chmod 640"
        )
    return path


def unfit_characters(path: Path) -> str:
    """What the runtime would refuse in a path, spelt; empty where there is nothing."""
    return " ".join(map(repr, sorted(set(re.findall(r"[^A-Za-z0-9_./-]", str(path))))))


def parse_gears(text: str, option: str = "--gears", most: int = 4096) -> tuple[int, ...]:
    """The numbers of ``--gears 1,2,4,8``, ascending. Raises `UsageError`."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and 0 < int(part) <= most for part in parts):
        raise UsageError(f"{option} {text}: numbers from 1 to {most}, separated by commas")
    return tuple(sorted({int(part) for part in parts}))


def memory_advice(files: Sequence[CompiledFile], interface: Interface) -> str:
    """What to do where the device has not the memory for these files."""
    gears = sorted({gear for file in files for gear in file.gears})
    others = "npu-smi info tells who else uses the device"
    if len(files) == 1 and len(gears) > 1:
        *less, largest = (gear // interface.unit for gear in gears)
        return (
            "An OM with gears reserves the memory of the largest of them, whichever is run: "
            f"compile it anew without {largest} (python -m converters.onnx2om --gears "
            f"{','.join(map(str, less))})"
        )
    if interface.whole:
        return f"Give a smaller file as well, as in --model A_bs8.om,A_bs1.om; {others}"
    return f"Leave out the files for most frames (python -m converters.onnx2om --unique); {others}"
