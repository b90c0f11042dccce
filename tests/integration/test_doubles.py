"""The doubles keep the rules that they are there for: a double that forgives proves nothing."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from engine.base.constants import CLIP_SHAPE, VIEWS
from tests.doubles import om
from tests.doubles.atc import Refused, compile_model
from tests.doubles.models import INPUT, geared, static

Runtime = Callable[..., ModuleType]
ONE = (1, VIEWS, *CLIP_SHAPE)


@pytest.fixture(scope="module")
def tiny_model(strided_model: Path) -> Path:
    return strided_model


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """The double of ``aclruntime`` under other variables."""

    def of(**variables: object) -> ModuleType:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        module = importlib.import_module("tests.doubles.aclruntime")
        return importlib.reload(module)

    return of


def opened(module: Any, path: Path, device: int = 0) -> Any:
    return module.InferenceSession(str(path), device, module.session_options())


def feed(module: Any, array: Any) -> Any:
    return module.BaseTensor(array.__array_interface__["data"][0], array.nbytes)


def zeros(batch: int) -> Any:
    return np.zeros((batch, *ONE[1:]), np.float32)


def test_the_constructor_is_positional(runtime: Runtime, tiny_model: Path, tmp_path: Path) -> None:
    module = runtime()
    path = str(static(tiny_model, tmp_path / "a.om", 1))
    with pytest.raises(TypeError):
        module.InferenceSession(model_path=path, device_id=0, options=module.session_options())


def test_sizes_are_exact(runtime: Runtime, tiny_model: Path, tmp_path: Path) -> None:
    module = runtime()
    session = opened(module, static(tiny_model, tmp_path / "a.om", 2))
    name = session.get_outputs()[0].name
    with pytest.raises(RuntimeError, match=r"\[-1\]\[ACL: general failure\] "):
        session.run([name], [feed(module, zeros(1))])
    with pytest.raises(RuntimeError, match=r"\[3\]\[ACL: runtime failure\] "):
        session.run([name], [])
    with pytest.raises(RuntimeError, match=r"\[-1\]"):  # of an unknown output, after execution
        session.run(["logits"], [feed(module, zeros(2))])
    assert len(session.sumary().exec_time_list) == 1


def test_gears(runtime: Runtime, tiny_model: Path, tmp_path: Path) -> None:
    module = runtime()
    session = opened(module, geared(tiny_model, tmp_path / "a.om", [1, 2]))
    name = session.get_outputs()[0].name
    [desc] = session.get_inputs()
    assert desc.shape[0] == -1
    assert desc.realsize == desc.size == zeros(2).nbytes  # the largest, while none is chosen
    assert session.get_max_dym_batchsize() == 2
    for gear in (3, 4):
        with pytest.raises(RuntimeError, match=r"\[1\]\[ACL: invalid parameter\] "):
            session.set_dynamic_batchsize(gear)
    with pytest.raises(RuntimeError, match="dynamic batchsize out of range"):
        session.set_dynamic_batchsize(5000)
    [output] = session.run([name], [feed(module, zeros(2))])
    assert output.shape == [40, 51]
    session.set_dynamic_batchsize(1)
    assert session.get_inputs()[0].realsize == zeros(1).nbytes
    [output] = session.run([name], [feed(module, zeros(1))])
    assert output.shape == [20, 51]  # at the gear, not at the largest
    with pytest.raises(RuntimeError, match="tensor is in npu. can't convert to numpy array"):
        np.array(output)
    output.to_host()
    assert np.array(output).dtype == np.float32


def test_a_static_file_has_no_gears(runtime: Runtime, tiny_model: Path, tmp_path: Path) -> None:
    session = opened(runtime(), static(tiny_model, tmp_path / "a.om", 1))
    with pytest.raises(RuntimeError, match=r"\[1\]"):
        session.set_dynamic_batchsize(1)
    with pytest.raises(RuntimeError, match="dynamic dims string is illegal"):
        session.set_dynamic_dims(f"{INPUT}:1,20,17,48,56,56")


@pytest.mark.parametrize("api", [2023, 2025])
def test_both_forms(runtime: Runtime, tiny_model: Path, tmp_path: Path, api: int) -> None:
    module = runtime(DOUBLE_API=api)
    session = opened(module, static(tiny_model, tmp_path / "a.om", 1))
    session.run([session.get_outputs()[0].name], [feed(module, zeros(1))])
    [time] = session.sumary().exec_time_list
    assert isinstance(time, tuple if api == 2025 else float)
    assert hasattr(session, "free_resource") == (api == 2025)
    assert hasattr(session, "get_max_dym_batchsize") == (api == 2025)
    session.reset_sumaryinfo()
    assert session.sumary().exec_time_list == []
    assert session.finalize() == 0


def test_tensors_count_bytes_in_32_bits(runtime: Runtime) -> None:
    module = runtime()
    large: Any = np.broadcast_to(np.float32(0), (2**30 + 1,))  # strides do not matter
    with pytest.raises(RuntimeError, match=r"\[2\]\[ACL: memory allocation fail\] "):
        module.Tensor(large)


def test_memory(runtime: Runtime, tiny_model: Path, tmp_path: Path) -> None:
    module = runtime(DOUBLE_MEMORY=om.WORKSPACE * zeros(2).nbytes)
    opened(module, static(tiny_model, tmp_path / "a.om", 2))
    with pytest.raises(RuntimeError, match=r"\[1\]"):
        opened(module, static(tiny_model, tmp_path / "b.om", 1))


@pytest.mark.parametrize("device", [1, 300, -1])
def test_devices(runtime: Runtime, tiny_model: Path, tmp_path: Path, device: int) -> None:
    with pytest.raises(RuntimeError, match="out of range" if device != 1 else r"\[1\]"):
        opened(runtime(), static(tiny_model, tmp_path / "a.om", 1), device)


def test_paths(runtime: Runtime, tiny_model: Path, tmp_path: Path) -> None:
    module = runtime()
    path = static(tiny_model, tmp_path / "a.om", 1)
    link, strange = tmp_path / "link.om", tmp_path / "a b.om"
    link.symlink_to(path)
    strange.write_bytes(path.read_bytes())
    path.chmod(0o666)
    for wrong in (path, link, strange, tmp_path / "none.om"):
        with pytest.raises(RuntimeError, match="please check model path"):
            opened(module, wrong)


def test_options(runtime: Runtime) -> None:
    options = runtime().session_options()
    assert (options.log_level, options.loop) == (2, 1)
    with pytest.raises(RuntimeError, match="out of range"):
        options.log_level = 5
    with pytest.raises(RuntimeError, match="loop num out of range"):
        options.loop = 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"input_shape": f"{INPUT}:-1,20,17,48,56,56"}, "E10031"),
        ({"dynamic_batch_size": "1,2"}, "E10031"),
        ({"input_shape": f"{INPUT}:1,-1,17,48,56,56"}, "E10018"),
        ({"input_shape": f"{INPUT}:-1,20,17,48,56,56", "dynamic_batch_size": "4"}, "E10035"),
        ({"input_shape": f"{INPUT}:-1,20,17,48,56,56", "dynamic_batch_size": "1,1"}, "E10039"),
        ({"input_shape": f"{INPUT}:-1,20,17,48,56,56", "dynamic_batch_size": "1;2"}, "E10003"),
        ({"input_shape": "data:1,20,17,48,56,56"}, "E10016"),
        ({"soc_version": "310P3"}, "E10001"),
        ({"input_format": "NHWC"}, "E10001"),
        ({"batch": "1"}, "E10001"),
    ],
)
def test_atc(tiny_model: Path, tmp_path: Path, change: dict[str, str], code: str) -> None:
    good = {
        "framework": "5",
        "model": str(tiny_model),
        "output": str(tmp_path / "a"),
        "input_format": "ND",
        "input_shape": f"{INPUT}:1,20,17,48,56,56",
        "soc_version": "Ascend310P3",
        "log": "error",
    }
    with pytest.raises(Refused, match=code):
        compile_model([f"--{name}={value}" for name, value in {**good, **change}.items()])
    assert not os.listdir(tmp_path)
    assert compile_model([f"--{name}={value}" for name, value in good.items()]).is_file()
