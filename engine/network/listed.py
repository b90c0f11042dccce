"""Listed files: several compiled or static files as one network, each for another size.

Comes in: paths. Goes out: a `ModelFile`, after it is known that they are of one network.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from engine.base import assets
from engine.base.assets import Content
from engine.base.choices import CLIPS, FORMS, SHARED
from engine.base.constants import HMDB51
from engine.base.errors import ModelError, UsageError
from engine.base.published import CHECKPOINTS
from engine.network import graphs, om
from engine.network.metadata import read_recipe
from engine.network.model_file import SLOWONLY, ModelFile
from engine.network.om import CompiledFile, Description
from engine.network.static import describe_static, is_static

log = logging.getLogger("engine")


def read_compiled(paths: list[Path], gears: str | None) -> ModelFile:
    """OM files as one model. Their shapes are checked where they are loaded."""
    for path in paths:
        if path.suffix != om.SUFFIX:
            raise ModelError(f"{path}: only .om files may be listed, separated by commas")
        if not path.is_file():
            raise ModelError(f"model {path}: no such file")
    if len({path.resolve() for path in paths}) < len(paths):
        raise ModelError(f"{', '.join(map(str, paths))}: the same file twice")
    found = [om.describe(path) for path in paths]
    described = [about for about in found if about is not None]
    if gears is not None and (described or len(paths) > 1):
        raise UsageError("--gears is for one .om file without a .om.json, which would tell them")
    if described and len(described) < len(paths):
        bare = next(p for p, about in zip(paths, found, strict=True) if about is None)
        raise ModelError(f"{bare} has no {bare.name}.json, the others have theirs")
    if described:
        spelt = [om.check_path(path) for path in paths]
        return _described(paths, spelt, described)
    log.warning(
        "%s: no %s.json, taken as layout `clips` of HMDB51 with mmaction2's constants",
        paths[0],
        paths[0].name,
    )
    files = [
        CompiledFile(
            om.check_path(path), assets.file_sha256(path), om.parse_gears(gears) if gears else ()
        )
        for path in paths
    ]
    return ModelFile(
        path=paths[0],
        sha256=_digest(files),
        input_name="",
        batch=None,
        classes=HMDB51,
        precision="f16",  # what atc compiles for
        files=tuple(files),
    )


def _digest(files: Sequence[CompiledFile]) -> str:
    """Of one file, or of several as one model."""
    digests = [file.sha256 for file in files]
    return digests[0] if len(digests) == 1 else sha256("".join(digests).encode()).hexdigest()


def _described(
    paths: Sequence[Path], spelt: Sequence[Path], found: Sequence[Description]
) -> ModelFile:
    """Files of which it is known what they are, as one model. `spelt`: as their runtime is told
    them."""
    _check_alike(paths, found)
    first = found[0]
    files = tuple(
        CompiledFile(
            path,
            about.sha256,
            about.gears,
            about.geared,
            about.soc_version or None,
            about.levels or (),
        )
        for path, about in zip(spelt, found, strict=True)
    )
    return ModelFile(
        path=paths[0],
        sha256=_digest(files),
        input_name="",
        batch=None,
        classes=first.classes,
        precision=first.precision,
        layout=CLIPS if first.layout == CLIPS else SHARED,
        form=first.layout,
        strides=first.strides or (),
        recipe=read_recipe(paths[0], first.preprocessing),
        files=files,
        network=first.network or SLOWONLY,
        split=first.split,
        published=CHECKPOINTS.get(first.published or ""),
    )


def read_static(contents: Sequence[Content]) -> ModelFile:
    """ONNX files of layout ``contexts`` as one model."""
    paths = [content.path for content in contents]
    found, largest = [], 0.0
    for path, content in zip(paths, contents, strict=True):
        model = graphs.parsed(content)
        if not is_static({p.key: p.value for p in model.metadata_props}):
            raise ModelError(
                f"{path}: only files of converters.onnx2om --layout shared may be listed, "
                "separated by commas"
            )
        about, magnitude = describe_static(content, model)
        found.append(about)
        largest = max(largest, magnitude)
    return replace(_described(paths, paths, found), largest=largest)


def _check_alike(paths: Sequence[Path], found: Sequence[Description]) -> None:
    """Raise `ModelError` unless the files are one network, each for other sizes."""
    first = found[0]
    for path, about in zip(paths, found, strict=True):
        if about.layout not in FORMS:
            raise ModelError(f"{path}: layout {about.layout!r}; known: {', '.join(FORMS)}")
        read_recipe(path, about.preprocessing)
        for name in ("layout", "dtype", "precision", "classes", "preprocessing", "strides"):
            if getattr(about, name) != getattr(first, name):
                raise ModelError(f"{paths[0]} and {path} differ in {name}: not one network")
        if about.geared and len(found) > 1:
            raise ModelError(f"{path} has several gears; it runs alone, not in a list of files")
    if len({about.made_of for about in found if about.made_of is not None}) > 1:
        raise ModelError(
            f"{', '.join(map(str, paths))}: made of different model files, so that each would give "
            "scores of its own; make them of one (python -m converters.onnx2om)"
        )
    gears = [about.gears for about in found]
    if len(set(gears)) < len(gears):
        raise ModelError(f"{', '.join(map(str, paths))}: two files of the same size")
