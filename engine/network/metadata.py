"""Metadata: what a model file says of its classes and its recipe.

Comes in: the properties of an ONNX file, or the description of an OM file. Goes out: class names
and `Recipe`. Files of others carry none, files of before the constants in place of a recipe.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from engine.base.choices import FORMS, LAYOUTS
from engine.base.constants import HMDB51, preprocessing
from engine.base.errors import ModelError
from engine.base.recipe import HMDB51_RECIPE, Recipe

log = logging.getLogger("engine")
_OURS: Final = {"classes", "preprocessing"}  # each file that says its layout


def classes_of(path: Path, properties: Mapping[str, str], count: int) -> tuple[str, ...]:
    """Class names out of the metadata."""
    if not described(path, properties):
        log.warning(
            "%s carries no metadata: taken as layout `clips` with mmaction2's constants", path
        )
        return HMDB51 if count == len(HMDB51) else tuple(f"class_{i}" for i in range(count))
    if properties["layout"] not in FORMS:
        raise ModelError(
            f"{path}: layout {properties['layout']!r}; this engine runs {' and '.join(LAYOUTS)}. "
            "Convert it again"
        )
    try:
        names = json.loads(properties["classes"])
    except (KeyError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: damaged metadata ({error!r}); convert it again") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelError(
            f"{path}: damaged metadata (classes is no list of names); convert it again"
        )
    if len(names) != count:
        raise ModelError(f"{path}: {len(names)} class names for {count} outputs; convert it again")
    return tuple(name.encode("utf-8", "backslashreplace").decode() for name in names)


def described(path: Path, properties: Mapping[str, str]) -> bool:
    """Whether a file says what it is. Raises `ModelError` for one that says a part of it."""
    if "layout" in properties:
        return True
    if left := sorted(_OURS & properties.keys()):
        raise ModelError(
            f"{path}: damaged metadata (layout is missing beside {', '.join(left)}); "
            "convert it again"
        )
    return False


def recipe_of(path: Path, properties: Mapping[str, str]) -> Recipe:
    """The recipe out of a file's metadata; HMDB51's where it has none."""
    if not described(path, properties):
        return HMDB51_RECIPE
    try:
        found: dict[str, Any] = dict(json.loads(properties["preprocessing"]))
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"{path}: damaged metadata ({error!r}); convert it again") from None
    return read_recipe(path, found)


def recipe_to_file(recipe: Recipe) -> dict[str, Any]:
    """As a file has it (JSON types only). HMDB51's in the form that it always had: the same
    checkpoint gives the same bytes, by which runs know that they go on with the same model."""
    return preprocessing() if recipe == HMDB51_RECIPE else recipe.to_json()


def read_recipe(path: Path, found: Mapping[str, Any]) -> Recipe:
    """A recipe as a file has it, or mmaction2's constants, as files before had them. Raises
    `ModelError`."""
    if "clip_len" not in found:
        try:
            return Recipe.from_json(found)
        except ModelError as error:
            raise ModelError(f"{path}: {error}; convert it again") from None
    known = preprocessing()
    for key, value in found.items():
        if key not in known:
            raise ModelError(f"{path} wants unknown preprocessing {key}; convert it again")
        if value != known[key]:
            raise ModelError(
                f"{path} wants preprocessing {key}={value!r}; files of this form have "
                f"{key}={known[key]!r} only. Convert it again"
            )
    return HMDB51_RECIPE


def gate_passed(properties: Mapping[str, str]) -> bool:
    """Whether a quantised file says that what it costs in accuracy was measured and allowed."""
    try:
        gate = json.loads(properties["quantisation"])["gate"]
        loss, agreement = gate["loss"], gate["agreement"]
        lost = loss is not None and not loss <= gate["max_loss"]
        return not lost and bool(agreement >= gate["min_agreement"])
    except (LookupError, ValueError, TypeError, RecursionError):
        return False
