"""Archives of plain arrays (``.npz``) that somebody else may have written."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.base.errors import DatasetError
from engine.base.host import memory_limit


@contextmanager
def opened_npz(path: Path) -> Iterator[dict[str, NDArray[Any]]]:
    """All arrays of an archive, by name, for a block that makes something of them. No pickled
    objects are read.

    Raises `OSError` for a file that cannot be read, and `DatasetError`, which does not name it, for
    one that is damaged or hostile, that unpacks to more than half of the memory, or whose arrays
    the block cannot use: what stands in them makes its readers raise nearly anything.
    """
    try:
        with zipfile.ZipFile(path) as members:
            unpacked = sum(member.file_size for member in members.infolist())
        if unpacked > memory_limit() // 2:
            raise DatasetError(f"unpacks to {unpacked / 1e9:.1f} GB, more than half of the memory")
        with path.open("rb") as source, np.load(source, allow_pickle=False) as archive:
            arrays: dict[str, NDArray[Any]] = {key: archive[key] for key in archive.files}
        yield arrays
    except (DatasetError, OSError):
        raise
    except Exception as error:
        kind = type(error).__name__
        raise DatasetError(f"not a readable .npz of plain arrays ({kind}: {error})") from None
