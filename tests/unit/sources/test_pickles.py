"""The allow-list unpickler: reads what numpy writes, runs nothing else."""

from __future__ import annotations

import collections
import io
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.errors import DatasetError
from engine.sources import pickles
from tests.support import DATA

ARRAYS = [
    np.arange(24, dtype=np.float16).reshape(2, 3, 4),
    np.asfortranarray(np.arange(24, dtype=np.float64).reshape(2, 3, 4)),
    np.arange(5, dtype=">i4"),
    np.array(["wave", "clap!"]),
    np.array([b"ab", b"c"]),
    np.zeros((0, 7, 17, 2), np.float32),
    np.array(3.5),
    np.array([True, False]),
]


def load(data: bytes) -> Any:
    return pickles.load(io.BytesIO(data))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_numpy_2_arrays(array: Any, protocol: int) -> None:
    found = load(pickle.dumps([array, array], protocol))
    for read in found:
        # Up to protocol 4 numpy itself turns swapped bytes into native ones.
        assert read.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numpy_1_file(protocol: int) -> None:
    found = load((DATA / f"annotations_p{protocol}.pkl").read_bytes())
    first, second, third = found["annotations"]
    assert found["split"] == {"test1": ["b", "absent"], "train1": ["a"]}
    assert first["label"] == 3
    expected = np.arange(68).reshape(1, 2, 17, 2) / 8
    assert first["keypoint"].dtype == np.float16
    np.testing.assert_array_equal(first["keypoint"], expected)
    assert second["keypoint"].dtype.newbyteorder("=") == np.float32
    np.testing.assert_array_equal(second["keypoint"], np.arange(204).reshape(2, 3, 17, 2) / 8)
    assert second["extra"].tolist() == ["x", "yz"]
    assert third["keypoint"].shape == (0, 3, 17, 2)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_containers(protocol: int) -> None:
    value = collections.OrderedDict(
        a=[1, 2.5, None, True], b=("x", b"y", b""), c={"d": {1, 2}, "e": frozenset("x")}
    )
    assert load(pickle.dumps(value, protocol)) == value
    assert load(pickle.dumps(np.float64(0.5), protocol)) == 0.5


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("factory", [list, dict, set, int, str, collections.OrderedDict, None])
def test_a_defaultdict_is_a_dict(factory: Any, protocol: int) -> None:
    value = collections.defaultdict(factory, {"test1": ["a"], "train1": []})
    found = load(pickle.dumps({"split": value, "again": value}, protocol))
    assert found == {"split": dict(value), "again": dict(value)}
    assert type(found["split"]) is dict


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("factory", [os.getcwd, eval, bytes, np.ndarray, pickle.loads])
def test_a_factory_of_anything_else_is_refused(factory: Any, protocol: int) -> None:
    with pytest.raises(DatasetError):
        load(pickle.dumps(collections.defaultdict(factory), protocol))


def test_object_arrays_are_data(tmp_path: Path) -> None:
    found = load(pickle.dumps(np.array([[1], None], dtype=object)))
    assert found.tolist() == [[1], None]


class _Attack:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


class _Call:
    """Pickles as a call of `function` with `arguments`, whatever they are."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_nothing_is_executed(chdir_tmp: Path, protocol: int) -> None:
    with pytest.raises(DatasetError, match=r"(posix|os)\.system.*nothing was executed"):
        load(pickle.dumps({"annotations": [_Attack()]}, protocol))
    assert not list(chdir_tmp.iterdir())


@pytest.mark.parametrize(
    "value",
    [
        _Call(eval, "1+1"),
        _Call(getattr, 1, "real"),
        _Call(np.load, "x"),
        _Call(np.ndarray, (10**15,)),
        _Call(np.dtype, "f4,f4"),
        _Call(np.dtype, "V1000000000"),
        _Call(np._core.multiarray._reconstruct, np.ndarray, (10**15,), b"b"),
        _Call(np._core.multiarray._reconstruct, collections.OrderedDict, (0,), b"b"),
        _Call(bytes, 10**15),
        _Call(list, "ab"),
        _Call(int, "9" * 5000),
        _Call(collections.defaultdict, [], ()),
        _Call(collections.defaultdict, list, {"a": 1}),
        _Call(np._core.multiarray.scalar, np.dtype("O"), b"\0" * 8),
        _Call(np._core.multiarray.scalar, np.dtype("f8"), b"\0" * 7),
        _Call(np._core.numeric._frombuffer, b"\0" * 8, np.dtype("f8"), (10**6, 10**6), "C"),
        _Call(np._core.numeric._frombuffer, b"\0" * 8, np.dtype("f8"), (-1,), "C"),
    ],
    ids=lambda v: f"{v.call[0].__module__}.{v.call[0].__name__}",
)
def test_refused(value: Any) -> None:
    with pytest.raises(DatasetError):
        load(pickle.dumps(value))


def test_an_array_that_lies_about_its_size() -> None:
    honest = pickle.dumps(np.arange(8.0), 2)
    shape = b"K\x08\x85"  # (8,)
    assert honest.count(shape) == 1
    for lie in (b"K\x09\x85", b"K\x07\x85", b"J\xff\xff\xff\xff\x85"):
        with pytest.raises(DatasetError, match="shape"):
            load(honest.replace(shape, lie))


def test_damaged() -> None:
    whole = pickle.dumps({"annotations": [np.arange(100.0)]})
    for end in range(0, len(whole) - 1, 7):
        with pytest.raises(DatasetError):
            load(whole[:end])
    for junk in (b"", b"not a pickle", b"\x80\xff", b"cos\nsystem\n(S'true'\ntR."):
        with pytest.raises(DatasetError):
            load(junk)


@pytest.mark.parametrize("opcode", [b"r\xff\xff\xff\x7f", b"p2000000000\n"])
def test_memo_bombs(opcode: bytes) -> None:
    """A place of a high number is one place, where the unpickler in C makes all below it, too."""
    tracemalloc.start()
    try:
        assert load(b"\x80\x02N" + opcode + b".") is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_pickle_changes_no_function() -> None:
    # BUILD with a state for slots, on the function that decodes bytes
    hostile = b"\x80\x02c_codecs\nencode\nN}X\x0c\x00\x00\x00__defaults__Ns\x86b."
    with pytest.raises(DatasetError, match="change a function"):
        load(hostile)
    assert load(pickle.dumps(b"bytes", 2)) == b"bytes"
