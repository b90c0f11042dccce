"""A backend that another package could bring: whole clips, and logits by numpy alone.

It runs no network: logits are drawn from a checksum of each clip, in whole numbers, so that they
are the same on every machine, in every process and beside any other clip, and differ where a single
value does. Of a model it takes the classes only. A clip takes a few milliseconds.

`register` makes it known under the entry point group ``engine.backends``, as an installed package
would.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.choices import Precision
from engine.base.constants import CLIP_LEN, CLIP_SHAPE, JOINTS
from engine.base.records import Facts
from engine.network.models import ModelFile

NAME = "checksum"
_FRAMES = JOINTS * CLIP_LEN


class ChecksumBackend:
    """A `engine.network.backend.ClipsBackend`. A run is one clip, and done when it is started."""

    sizes = (1,)
    lanes = 1

    def __init__(
        self, model: ModelFile, *, device: str | None, precision: Precision, threads: int
    ) -> None:
        self.facts = Facts("checksums", device or "numpy", precision, threads)
        rng = np.random.default_rng(0)
        shape = (_FRAMES, len(model.classes))
        self._factors = rng.integers(0, 2**64, shape, np.uint64, endpoint=False)
        self._clips = np.zeros((1, *CLIP_SHAPE), np.float32)

    def clips(self, lane: int, size: int) -> NDArray[np.float32]:
        return self._clips

    def start(self, lane: int, size: int) -> None:
        self._logits = logits(self._clips, self._factors)

    def finish(self, lane: int) -> NDArray[np.float32]:
        return self._logits

    def close(self) -> None:
        pass


def logits(clips: NDArray[np.float32], factors: NDArray[Any]) -> NDArray[np.float32]:
    """Logits from -8 to 8, float32 [clips, classes], of clips [clips, 17, 48, 56, 56]. `factors`:
    uint64 [17 * 48, classes]."""
    sums = clips.reshape(len(clips), _FRAMES, -1).view(np.uint64).sum(axis=2)  # modulo 2**64
    mixed = sums @ factors
    found: NDArray[np.float32] = (mixed >> np.uint64(44)).astype(np.float32) / 2**16 - 8
    return found


def register(folder: Path, name: str = NAME, backend: type = ChecksumBackend) -> Path:
    """Write into a folder what a package manager writes, and return the folder: with it on the
    path, `name` is a backend."""
    info = folder / f"posec3d_{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: posec3d-{name}\nVersion: 1.0\n")
    target = f"{backend.__module__}:{backend.__name__}"
    (info / "entry_points.txt").write_text(f"[engine.backends]\n{name} = {target}\n")
    return folder
