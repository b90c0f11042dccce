"""Promise 4, of files: what is damaged or hostile is refused whole, by name, and does nothing."""

from __future__ import annotations

import collections
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.errors import DatasetError
from engine.sources.dataset import open_dataset
from tests.support.samples import annotation


class Attack:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


class Bomb:
    """Pickles as a call that would make a huge array of nothing."""

    def __reduce__(self) -> Any:
        return np.ndarray, ((10**12,),)


def a_bomb_of_zeros(path: Path) -> None:
    """An .npz of a kilobyte a member that unpacks to more than the memory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("frame_dir.npy", b"\0" * 1000)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02") + 24  # what the directory says of its size
    content[place : place + 4] = (2**32 - 2).to_bytes(4, "little")
    path.write_bytes(content)


def write_pickle(value: Any) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(pickle.dumps(value)) and None


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("attack.pkl", write_pickle({"annotations": [Attack()]})),
        ("bomb.pkl", write_pickle([Bomb()])),
        ("memo.pkl", lambda p: p.write_bytes(b"\x80\x02Nr\xff\xff\xff\x7f.")),
        ("truncated.pkl", lambda p: p.write_bytes(pickle.dumps([annotation(20)])[:-40])),
        ("claims.pkl", lambda p: p.write_bytes(b"\x80\x04B\xff\xff\xff\x7f" + b"x" * 10)),
        ("frame.pkl", lambda p: p.write_bytes(b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f" + b"x")),
        ("empty.pkl", lambda p: p.write_bytes(b"")),
        ("other.pkl", write_pickle({"a": 1})),
        ("counter.pkl", write_pickle(collections.Counter("abc"))),
        ("bomb.npz", a_bomb_of_zeros),
        ("objects.npz", lambda p: np.savez(p, frame_dir=np.array([Attack()], dtype=object))),
        ("truncated.npz", lambda p: p.write_bytes(b"PK\x03\x04" + b"x" * 100)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_files(chdir_tmp: Path, name: str, write: Callable[[Path], None]) -> None:
    """Refused whole, by name, and nothing in them is executed or allocated."""
    write(chdir_tmp / name)
    with pytest.raises(DatasetError, match=name):
        open_dataset(str(chdir_tmp / name))
    assert not (chdir_tmp / "pwned").exists()
