"""The model file: a network on disk, as it was opened, and how it can be run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from engine.base.choices import CLIPS, CONTEXTS, SHARED, Layout
from engine.base.errors import ModelError, UsageError
from engine.base.published import Checkpoint
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.network import om
from engine.network.om import CompiledFile, Interface

SLOWONLY: Final = "SlowOnly"  # the network of a file that names none


@dataclass(frozen=True)
class ModelFile:
    """A network on disk.

    `path`: an ``.onnx`` or ``.om`` file. `sha256`: of that file, hex. `input_name`: of
    its one input, float32 [batch, 20, 17, 48, 56, 56]. `batch`: samples a run, None where
    the file leaves it free. `classes`: names, one an output. `precision`: ``f32``, ``int8``
    for a quantised file (`converters.quantize`), what an ``.om`` was compiled for, else
    ``mixed``. `layout`: to be run in. `form`: what the file calls its layout. `files`:
    the ``.om`` files, or ``.onnx`` files of layout ``contexts``, one for each number of samples or
    frames, or one for all. Then `path` is the first of them, `input_name` is empty, and `batch` is
    None. `strides`: of the levels of layout ``contexts``. `recipe`: of its input. `network`: the
    kind of it, as messages call it. `split`: which a data set is tested on,
    where the file says so. `published`: the checkpoint that it was made from, where that is a known
    one. `divisible`: whether it can be cut between frames, for layout ``shared``.
    `renamed`: whether `classes` are others than the file says. `largest`: the magnitude of its
    numbers at most, where that is known. `gated`: whether the file says that its accuracy was
    measured when it was quantised, and was within what was allowed.
    """

    path: Path
    sha256: str
    input_name: str
    batch: int | None
    classes: tuple[str, ...]
    precision: str
    layout: Layout = CLIPS
    form: str = CLIPS
    strides: tuple[int, ...] = ()
    recipe: Recipe = HMDB51_RECIPE
    files: tuple[CompiledFile, ...] = ()
    network: str = SLOWONLY
    split: str | None = None
    published: Checkpoint | None = None
    divisible: bool = False
    renamed: bool = False
    largest: float = 0.0
    gated: bool = False

    @property
    def compiled(self) -> bool:
        """Whether it is of OM files."""
        return bool(self.files) and self.path.suffix == om.SUFFIX

    @property
    def spec(self) -> str:
        """What ``--model`` says to open it again."""
        return ",".join(str(file.path) for file in self.files) or str(self.path)

    @property
    def interface(self) -> Interface:
        """What its files take and give."""
        return Interface(self.form, self.recipe, self.levels)

    @property
    def levels(self) -> dict[int, tuple[int, ...]]:
        """Of layout ``contexts``: how many rows each level has, by the number of frames."""
        return {file.gears[0]: file.levels for file in self.files if self.form == CONTEXTS}

    @property
    def intact(self) -> bool:
        """Whether what is on disk still is what was opened."""
        try:
            _ = [file.content() for file in self.files or [self]]
        except ModelError:
            return False
        return True

    def content(self) -> bytes:
        """The bytes of the ``.onnx`` file, the same for whoever asks, in whichever process and
        however late. Raises `ModelError` where they are no longer to be had."""
        return om.read_unchanged(self.path, self.sha256)

    def require_slowonly(self, by: str) -> None:
        """Raise `UsageError` for another network or graph, for what computes no other."""
        if self.files:
            raise UsageError(
                f"{self.path} is one graph of layout shared, which {by} does not compute; give it "
                "the file that this was made from, or take --backend openvino or onnxruntime"
            )
        if self.network != SLOWONLY:
            raise UsageError(
                f"{self.path} holds the network {self.network:.40}, which {by} does not compute; "
                "--backend openvino and onnxruntime do"
            )

    def with_layout(self, wanted: str, *, whole_clips: bool) -> ModelFile:
        """The same file, to be run in a layout, or ``auto``; `whole_clips` says that samples
        come as such. Raises `UsageError` where that cannot be."""
        if self.files:
            return self._as_compiled(wanted, whole_clips)
        if wanted == SHARED and whole_clips:
            raise UsageError("--layout shared needs distinct frames, which --wire clips has not")
        if wanted == SHARED and not self.divisible:
            raise UsageError(
                f"--layout shared: {self.path} ({self.network:.40}) cannot be cut between frames; "
                "--layout clips runs it"
            )
        if wanted == "auto":
            shares = not whole_clips and self.batch is None and self.divisible
            return replace(self, layout=SHARED if shares else CLIPS)
        return replace(self, layout=SHARED if wanted == SHARED else CLIPS)

    def _as_compiled(self, wanted: str, whole_clips: bool) -> ModelFile:
        if wanted not in ("auto", self.layout):
            raise UsageError(f"--layout {wanted}: {self.path} was compiled as {self.layout}")
        if self.layout == SHARED and whole_clips:
            raise UsageError(
                f"{self.path} takes distinct frames (layout shared), which --wire clips has not"
            )
        return self
