"""Promise 12: hostile, damaged or foreign model files are refused by name, and do nothing."""

from __future__ import annotations

import io
import math
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import external_data_helper

from engine.base.errors import ModelError
from engine.network.models import open_model
from tests.support import DATA, damage
from tests.support.damage import Damage, damaged


def external(location: str) -> Callable[[Path, Path], None]:
    """A model whose first weights are said to be in another file."""

    def write(path: Path, model: Path) -> None:
        found = onnx.load(str(model))
        weights = next(t for t in found.graph.initializer if t.raw_data)
        external_data_helper.set_external_data(weights, location=location)
        weights.ClearField("raw_data")
        path.write_bytes(found.SerializeToString())

    return write


def constant_external(path: Path, model: Path) -> None:
    """The same, in a Constant node instead of the weights."""
    found = onnx.load(str(model))
    weights = next(t for t in found.graph.initializer if t.raw_data)
    node = onnx.helper.make_node("Constant", [], [weights.name], value=weights)
    external_data_helper.set_external_data(node.attribute[0].t, location="/etc/passwd")
    node.attribute[0].t.ClearField("raw_data")
    found.graph.initializer.remove(weights)
    found.graph.node.insert(0, node)
    path.write_bytes(found.SerializeToString())


class Attack:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


def checkpoint_with(value: Any) -> bytes:
    """A torch archive whose pickle is `value`'s."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps(value, 2))
        archive.writestr("a/version", "3")
    return buffer.getvalue()


def cut(share: float) -> Callable[[Path, Path], None]:
    def write(path: Path, model: Path) -> None:
        whole = model.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])

    return write


def bytes_of(content: bytes) -> Callable[[Path, Path], None]:
    return lambda path, _: path.write_bytes(content) and None


def changed(change: Damage) -> Callable[[Path, Path], None]:
    return lambda path, model: damaged(path, model, change) and None


FILES: list[tuple[str, Callable[[Path, Path], None], str]] = [
    ("outside.onnx", external("../../../etc/passwd"), "in other files"),
    ("absolute.onnx", external("/etc/passwd"), "in other files"),
    ("beside.onnx", external("weights.bin"), "in other files"),
    ("constant.onnx", constant_external, "in other files"),
    *((f"cut{share}.onnx", cut(share), "onnx") for share in (0.1, 0.5, 0.9, 0.999)),
    ("empty.onnx", bytes_of(b""), "is empty"),
    ("noise.onnx", bytes_of(b"\x08\x06 not protobuf"), "damaged or not an ONNX file"),
    ("page.onnx", bytes_of(b"<html>404 not found</html>"), "damaged or not an ONNX file"),
    (
        "attack.pth",
        bytes_of(checkpoint_with({"state_dict": Attack()})),
        "Nothing in this file was executed",
    ),
    ("attack_old.pth", bytes_of(pickle.dumps(Attack(), 2)), "neither a zip nor torch's older"),
    ("no_state.pth", bytes_of(checkpoint_with({"a": 1})), "pth"),
    ("cut.pth", bytes_of((DATA / "checkpoint_zip.pth").read_bytes()[:-100]), "pth"),
    ("empty.pth", bytes_of(b""), "truncated or not a torch checkpoint"),
    *(
        (f"{name}.onnx", changed(change), message)
        for name, change, message in (
            ("nan", damage.weight(damage.FIRST, damage.one(math.nan)), "not finite"),
            ("inf", damage.weight(damage.FIRST, damage.one(math.inf)), "not finite"),
            ("sixty", damage.declared(60), "no valid ONNX graph"),
            ("endless", damage.declared(2**62), "at most 65536"),
            ("itself", damage.fed_by_itself, "no valid ONNX graph"),
            ("circle", damage.in_a_circle, "no valid ONNX graph"),
        )
    ),
]


@pytest.mark.parametrize(("name", "write", "message"), FILES, ids=[name for name, *_ in FILES])
def test_refused(
    chdir_tmp: Path, tiny_model: Path, name: str, write: Callable[[Path, Path], None], message: str
) -> None:
    write(chdir_tmp / name, tiny_model)
    with pytest.raises(ModelError, match=message) as caught:
        open_model(str(chdir_tmp / name))
    assert name in str(caught.value)
    assert not (chdir_tmp / "pwned").exists()


@pytest.mark.parametrize(
    "name", ["outside.onnx", "cut0.9.onnx", "attack.pth", "nan.onnx", "endless.onnx", "itself.onnx"]
)
def test_the_command(chdir_tmp: Path, tiny_model: Path, data: Path, name: str) -> None:
    """One message, exit code 2, and no process was started."""
    [write] = [write for other, write, _ in FILES if other == name]
    write(chdir_tmp / name, tiny_model)
    done = subprocess.run(
        [sys.executable, "-m", "engine.run", "--dataset", data, "--model", chdir_tmp / name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("engine.run: ")
    assert done.stderr.count("engine.run: ") == 1
    assert "Traceback" not in done.stderr
    assert not (chdir_tmp / "pwned").exists()


def test_an_om_on_a_cpu(chdir_tmp: Path, data: Path) -> None:
    """Refused before a process is started; on a host without an NPU it needs no asking."""
    (chdir_tmp / "a.om").write_bytes(b"IMOD" + bytes(100))
    for backend, message in (
        ("openvino", "an OM runs on an Ascend NPU only (--backend acl)"),
        ("auto", "this host has no aclruntime"),
    ):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "engine.run",
                "--dataset",
                data,
                "--model",
                "a.om",
                "--backend",
                backend,
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        warning, error = done.stderr.splitlines()
        assert warning.startswith("a.om: no a.om.json, taken as layout `clips` of HMDB51")
        assert error.startswith("engine.run: ")
        assert message in error
