"""The doubles keep the rules that they are there for: a double that forgives proves nothing."""

from __future__ import annotations

import ctypes
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
    output.to_host()
    assert np.array(output).dtype == np.float32


def test_a_static_file_has_no_gears(runtime: Runtime, tiny_model: Path, tmp_path: Path) -> None:
    session = opened(runtime(), static(tiny_model, tmp_path / "a.om", 1))
    with pytest.raises(RuntimeError, match=r"^\[1\]\[ACL: invalid parameter\] $"):
        session.set_dynamic_batchsize(1)
    with pytest.raises(RuntimeError, match="dynamic dims string is illegal"):
        session.set_dynamic_dims(f"{INPUT}:1,20,17,48,56,56")


def test_a_gear_given_up_leaves_its_size(
    runtime: Runtime, tiny_model: Path, tmp_path: Path
) -> None:
    """``set_staticbatch`` takes back the gear and not ``realsize``: no input goes any more."""
    module = runtime()
    session = opened(module, geared(tiny_model, tmp_path / "a.om", [1, 2]))
    session.set_dynamic_batchsize(1)
    session.set_staticbatch()
    assert session.get_inputs()[0].realsize == zeros(1).nbytes
    name = session.get_outputs()[0].name
    for batch in (1, 2):  # less than the largest gear takes; not what the module checks for
        with pytest.raises(RuntimeError, match=r"^\[-1\]\[ACL: general failure\] $"):
            session.run([name], [feed(module, zeros(batch))])


@pytest.mark.parametrize("api", [2023, 2025])
def test_both_forms(runtime: Runtime, tiny_model: Path, tmp_path: Path, api: int) -> None:
    """Durations in 2023; in 2025 pairs of start and end, in ms since the session was made."""
    module = runtime(DOUBLE_API=api)
    session = opened(module, static(tiny_model, tmp_path / "a.om", 1))
    for _ in range(2):
        session.run([session.get_outputs()[0].name], [feed(module, zeros(1))])
    first, second = session.sumary().exec_time_list
    if api == 2025:
        assert [type(time) for time in (first, second, *first)] == [tuple, tuple, float, float]
        assert 0 < first[0] < first[1] <= second[0] < second[1]
    else:
        assert [type(time) for time in (first, second)] == [float, float]
    assert hasattr(session, "free_resource") == (api == 2025)
    assert hasattr(session, "get_max_dym_batchsize") == (api == 2025)
    session.reset_sumaryinfo()
    assert session.sumary().exec_time_list == []
    assert session.finalize() == 0


def test_an_address_is_a_capsule(runtime: Runtime) -> None:
    """Made of a number, and read as a pointer of C's."""
    module = runtime()
    data = zeros(1)
    given = feed(module, data)
    assert type(given.buf).__name__ == "PyCapsule"
    assert given.size == data.nbytes
    with pytest.raises(TypeError):
        given.buf + 1
    with pytest.raises(TypeError, match="incompatible"):
        given.buf = data.__array_interface__["data"][0]
    other = module.BaseTensor(0, 0)
    assert other.buf is None
    other.buf = given.buf
    assert other.address == given.address


def test_a_tensor_on_the_device_is_no_array(runtime: Runtime) -> None:
    """numpy passes over its refusal: what comes is a thing of no dimensions, without an error."""
    tensor = runtime().Tensor(zeros(1))
    assert np.array(tensor).shape == ONE
    tensor.to_device(0)
    found = np.array(tensor)
    assert (found.dtype, found.shape, found.item()) == (np.dtype(object), (), tensor)
    with pytest.raises(TypeError):
        np.array(tensor, np.float32)
    tensor.to_host()
    np.testing.assert_array_equal(np.array(tensor), zeros(1))


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


@pytest.mark.parametrize("api", [2023, 2025])
def test_a_run_that_fails_keeps_its_input(
    runtime: Runtime, tiny_model: Path, tmp_path: Path, faults: Path, api: int
) -> None:
    """On the device, until the process ends. One that is well gives it back."""
    data = zeros(1)
    module = runtime(DOUBLE_API=api, DOUBLE_MEMORY=(om.WORKSPACE + 2) * data.nbytes)
    path = static(tiny_model, tmp_path / "a.om", 1)
    session = opened(module, path)
    name = session.get_outputs()[0].name
    for _ in range(3):
        session.run([name], [feed(module, data)])
    faults.write_text("fail 507011\n" * 2)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"^\[-1\]\[ACL: general failure\] $"):
            session.run([name], [feed(module, data)])
    full = {
        2023: r"^\[-1\]\[ACL: general failure\] $",
        2025: "^copy mem to device failed! cause: malloc device memory data failed!$",
    }[api]
    with pytest.raises(RuntimeError, match=full):
        session.run([name], [feed(module, data)])
    if api == 2025:
        session.free_resource()  # of the file's own memory, and no more
        again = opened(module, path)
        with pytest.raises(RuntimeError, match=full):
            again.run([name], [feed(module, data)])


@pytest.mark.parametrize(
    ("api", "device", "message"),
    [
        (2025, 1, r"^\[107001\]\[Error code unknown\] $"),
        (2023, 1, r"^\[107001\]\[Error code unknown\] $"),
        (2025, 300, "^device id is out of range$"),
        (2025, -1, "^device id is out of range$"),
        (2023, 300, r"^\[107001\]"),
    ],
)
def test_devices(
    runtime: Runtime, tiny_model: Path, tmp_path: Path, api: int, device: int, message: str
) -> None:
    """ACL's own number of a wrong one, which the module has no text for."""
    with pytest.raises(RuntimeError, match=message):
        opened(runtime(DOUBLE_API=api), static(tiny_model, tmp_path / "a.om", 1), device)


@pytest.mark.parametrize(("api", "mark"), [(2023, ""), (2025, "[ACL ERROR] ")])
def test_texts(
    runtime: Runtime,
    tiny_model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    api: int,
    mark: str,
) -> None:
    """Several lines on standard output, of which one has ACL's number; the error has none."""
    module = runtime(DOUBLE_API=api, DOUBLE_MEMORY=1, DOUBLE_MEMORY_CODE=245000)
    with pytest.raises(RuntimeError, match=r"^\[1\]\[ACL: invalid parameter\] $"):
        opened(module, static(tiny_model, tmp_path / "a.om", 1))
    ctypes.CDLL(None).fflush(None)
    lines = capfd.readouterr().out.splitlines()
    assert 7 <= len(lines) <= 14
    assert lines[0].startswith(f"{mark}EL0004: [PID: ")
    assert all(line.startswith("        ") for line in lines[1:-1])
    numbers = [n for n, line in enumerate(lines) if "207001" in line or "245000" in line]
    assert len(numbers) == 2
    assert 0 < numbers[0] < numbers[1] < len(lines) - 1
    assert lines[-1] == "[ERROR] load model from file failed"


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


@pytest.mark.parametrize(
    ("option", "wrong", "message"),
    [
        ("log_level", 5, "log level out of range. Please check."),
        ("log_level", 0, "log level out of range. Please check."),
        ("loop", 0, "loop num out of range. Please check."),
        ("loop", 100_001, "loop num out of range. Please check."),
    ],
)
def test_options(
    runtime: Runtime, tiny_model: Path, tmp_path: Path, option: str, wrong: int, message: str
) -> None:
    """They take anything; the constructor of 2025 looks, before it looks for the file."""
    module = runtime()
    options = module.session_options()
    assert (options.log_level, options.loop, options.acl_json_path) == (2, 1, "")
    setattr(options, option, wrong)
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        module.InferenceSession(str(tmp_path / "none.om"), 0, options)
    old = runtime(DOUBLE_API=2023)
    options = old.session_options()
    setattr(options, option, wrong)
    old.InferenceSession(str(static(tiny_model, tmp_path / "a.om", 1)), 0, options)


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
