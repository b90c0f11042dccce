"""The backends for NPUs against test doubles of their runtimes: the doubles' logits are real, and
they keep the rules that the runtimes' sources and documents state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from engine.backends.registry import choose, devices, load
from engine.base.constants import CLIP_SHAPE, VIEWS, preprocessing
from engine.base.errors import BackendError, ModelError, UsageError
from engine.network.backend import ClipsBackend
from engine.network.models import open_model
from tests.doubles import om
from tests.doubles.models import INPUT, describe, geared, static
from tests.doubles.said import recent_error
from tests.support.networks import STRIDED, random_state_dict, write_model

pytestmark = pytest.mark.usefixtures("doubles")
SAMPLE = VIEWS * int(np.prod(CLIP_SHAPE)) * 4  # bytes


def opened(
    path: Path | str, gears: str | None = None, device: str | None = None, name: str = "acl"
) -> ClipsBackend:
    model = open_model(str(path), gears)
    return load(name, model, device=device, precision="f16", threads=0)


def run(backend: ClipsBackend, data: Any, lane: int = 0) -> Any:
    clips = backend.clips(lane, len(data))
    clips[:] = data
    backend.start(lane, len(data))
    return backend.finish(lane)


@pytest.fixture(scope="module")
def tiny_model(strided_model: Path) -> Path:
    return strided_model


@pytest.fixture(scope="module")
def clips() -> Any:
    """Two samples: [40, 17, 48, 56, 56]."""
    return np.random.default_rng(0).random((2 * VIEWS, *CLIP_SHAPE), np.float32)


@pytest.fixture(scope="module")
def expected(tiny_model: Path, clips: Any) -> Any:
    """Their logits by ONNX Runtime in this process."""
    backend = load(
        "onnxruntime", open_model(str(tiny_model)), device=None, precision="f32", threads=2
    )
    logits = np.concatenate([run(backend, clips[:VIEWS]), run(backend, clips[VIEWS:])])
    backend.close()
    return logits


@pytest.fixture
def plain(tiny_model: Path, tmp_path: Path) -> Path:
    """An OM of one sample a run, as the published recipe makes it."""
    return static(tiny_model, tmp_path / "bs1.om", 1)


@pytest.mark.parametrize("api", ["2023", "2025"])
def test_a_static_file(
    plain: Path, clips: Any, expected: Any, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    monkeypatch.setenv("DOUBLE_API", api)
    backend = opened(plain)
    assert (backend.sizes, backend.lanes) == ((20,), 2)
    assert api in backend.facts.runtime
    np.testing.assert_allclose(run(backend, clips[:20]), expected[:20], rtol=1e-5, atol=1e-5)
    assert 0 < backend.executed_s < 60
    backend.close()


def test_slots_are_independent(name: str, plain: Path, clips: Any, expected: Any) -> None:
    backend = opened(plain, name=name)
    for lane in (0, 1):
        slot = backend.clips(lane, 20)
        slot[:] = clips[20 * lane : 20 * lane + 20]
    backend.start(0, 20)
    backend.start(1, 20)
    found = np.concatenate([backend.finish(0), backend.finish(1)])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    backend.close()


def test_gears(tiny_model: Path, tmp_path: Path, clips: Any, expected: Any) -> None:
    path = geared(tiny_model, tmp_path / "dyn.om", [1, 2, 4])
    with pytest.raises(ModelError, match="several gears, .* --gears 1,2,4,8"):
        opened(path)
    with pytest.raises(ModelError, match="has 4 as its largest gear, not 8: check --gears"):
        opened(path, "1,8")
    backend = opened(path, "1,2,4")
    assert backend.sizes == (20, 40, 80)
    np.testing.assert_allclose(run(backend, clips), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run(backend, clips[:20]), expected[:20], rtol=1e-5, atol=1e-5)
    backend.close()
    describe(path, [1, 2, 4], geared=True)
    backend = opened(path)
    assert backend.sizes == (20, 40, 80)
    backend.close()


def test_a_gear_that_was_not_compiled(tiny_model: Path, tmp_path: Path, clips: Any) -> None:
    backend = opened(geared(tiny_model, tmp_path / "dyn.om", [1, 4]), "1,2,4")
    with pytest.raises(BackendError, match="gear 2: .*invalid parameter"):
        run(backend, clips)
    backend.close()


def test_several_static_files(
    name: str, tiny_model: Path, tmp_path: Path, clips: Any, expected: Any
) -> None:
    paths = [static(tiny_model, tmp_path / f"bs{n}.om", n) for n in (1, 2)]
    backend = opened(",".join(map(str, paths)), name=name)
    assert backend.sizes == (20, 40)
    np.testing.assert_allclose(run(backend, clips), expected, rtol=1e-5, atol=1e-5)
    backend.close()


def test_half_precision_inputs(
    name: str, tiny_model: Path, tmp_path: Path, clips: Any, expected: Any
) -> None:
    path = static(tiny_model, tmp_path / "half.om", 1, fp16=[INPUT])
    backend = opened(path, name=name)
    assert backend.clips(0, 20).dtype == np.float16
    np.testing.assert_allclose(run(backend, clips[:20]), expected[:20], rtol=0, atol=2e-2)
    backend.close()


# Memory


@pytest.mark.parametrize(
    ("code", "trace"), [(207001, 3), (245000, 3), (245000, 60)], ids=["runtime", "model", "long"]
)
def test_a_file_that_the_device_has_no_memory_for_is_left_out(
    code: int,
    trace: int,
    name: str,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("DOUBLE_MEMORY", str((2 * om.WORKSPACE + 5) * SAMPLE))
    monkeypatch.setenv("DOUBLE_MEMORY_CODE", str(code))
    monkeypatch.setenv("DOUBLE_TRACE", str(trace))  # lines below the code, of 57 characters each
    paths = [
        describe(static(tiny_model, tmp_path / f"bs{n}.om", n), [n], geared=False) for n in (4, 2)
    ]
    backend = opened(",".join(map(str, paths)), name=name)
    assert backend.sizes == (40,)
    backend.close()
    first, *theirs = caplog.messages[-1].split("\n")
    assert f"ACL error {code}: the device has no memory left" in first
    assert first.endswith("going on without bs4.om")
    if name == "acl":  # whose runtime prints
        assert theirs[:2] == [
            "  the runtime printed:",
            f"    [ACL ERROR] {recent_error(207001).partition(chr(10))[0]}",
        ]
        assert len(theirs) >= 8
    with pytest.raises(ModelError, match="^loading bs4.om failed.* Give a smaller file as well"):
        opened(paths[0], name=name)


def test_a_graph_with_gears_reserves_its_largest(
    name: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOUBLE_MEMORY", str((4 * om.WORKSPACE + 9) * SAMPLE))
    path = describe(geared(tiny_model, tmp_path / "dyn.om", [1, 4, 8]), [1, 4, 8], geared=True)
    with pytest.raises(ModelError, match="compile it anew without 8 .*--gears 1,4"):
        opened(path, name=name)


@pytest.mark.slow
def test_memory_that_runs_out_at_a_run(
    name: str,
    tiny_model: Path,
    tmp_path: Path,
    clips: Any,
    expected: Any,
    faults: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The larger file is given up; what had been started is run again, in pieces."""
    paths = [static(tiny_model, tmp_path / f"bs{n}.om", n) for n in (2, 1)]
    backend = opened(",".join(map(str, paths)), name=name)
    first = backend._process.pid  # type: ignore[attr-defined]
    faults.write_text(f"memory {2 * SAMPLE}")
    for lane in (0, 1):
        slot = backend.clips(lane, 40)
        slot[:] = clips
        backend.start(lane, 40)
    for lane in (0, 1):
        np.testing.assert_allclose(backend.finish(lane), expected, rtol=1e-5, atol=1e-5)
    assert backend.sizes == (20,)
    assert backend._process.pid != first  # type: ignore[attr-defined]
    assert "going on with bs1.om" in caplog.text
    faults.write_text("memory 1")
    slot = backend.clips(0, 40)
    backend.start(0, 40)  # which goes as two runs of what is left
    with pytest.raises(ModelError, match="207001.*Give a smaller file"):
        backend.finish(0)
    backend.close()
    backend = opened(paths[1], name=name)
    with pytest.raises(ModelError, match="207001.*Give a smaller file"):
        run(backend, clips[:20])
    backend.close()


def test_a_smaller_file_that_did_not_fit_beside_a_larger_one(
    tiny_model: Path,
    tmp_path: Path,
    clips: Any,
    expected: Any,
    faults: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is remembered for when the larger one has to be given up."""
    monkeypatch.setenv("DOUBLE_MEMORY", str((2 * om.WORKSPACE + 3) * SAMPLE))
    paths = [
        describe(static(tiny_model, tmp_path / f"bs{n}.om", n), [n], geared=False) for n in (2, 1)
    ]
    backend = opened(",".join(map(str, paths)))
    assert backend.sizes == (40,)
    faults.write_text(f"memory {2 * SAMPLE}")
    np.testing.assert_allclose(run(backend, clips), expected, rtol=1e-5, atol=1e-5)
    assert backend.sizes == (20,)
    backend.close()


@pytest.mark.parametrize("api", [pytest.param("2023", marks=pytest.mark.slow), "2025"])
def test_gears_in_both_forms(
    tiny_model: Path,
    tmp_path: Path,
    clips: Any,
    expected: Any,
    api: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That of 2023 does not tell the largest."""
    monkeypatch.setenv("DOUBLE_API", api)
    backend = opened(geared(tiny_model, tmp_path / "dyn.om", [1, 2]), "1,2")
    np.testing.assert_allclose(run(backend, clips), expected, rtol=1e-5, atol=1e-5)
    backend.close()


# Refusals


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("7", "107001: there is no such device"),
        ("NPU", "an NPU is a number from 0 to 255"),
        ("256", "an NPU is a number"),
    ],
)
def test_devices(plain: Path, device: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        opened(plain, device=device)


@pytest.mark.parametrize("module", ["aclruntime", "acl"])
def test_without_the_environment_of_cann(
    module: str, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module is there, and what it is linked with is not: it fails as an extension does."""
    lack = "libascendcl.so: cannot open shared object file: No such file or directory"
    (tmp_path / f"{module}.py").write_text(f"raise ImportError({lack!r}, name={module!r})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    name = {"aclruntime": "acl", "acl": "pyacl"}[module]
    with pytest.raises(UsageError, match=f"^{module} cannot be imported: {lack}; source .*set_env"):
        opened(plain, name=name)
    monkeypatch.setenv("ASCEND_TOOLKIT_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="environment is set, and libascendcl.so is in no folder"):
        opened(plain, name=name)


def test_paths_that_the_runtime_would_refuse(plain: Path) -> None:
    strange = plain.rename(plain.with_name("mod el.om"))
    with pytest.raises(ModelError, match="letters, digits .* not ' '"):
        open_model(str(strange))
    plain = strange.rename(plain)
    plain.chmod(0o666)
    with pytest.raises(ModelError, match="can be written by others .mode 666.*chmod 640"):
        open_model(str(plain))
    plain.chmod(0o640)
    link = plain.with_name("link.om")
    link.symlink_to(plain)
    opened(link).close()  # is told the file itself


def test_what_is_no_model_of_ours(name: str, tiny_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.om"
    broken.write_bytes(b"not an OM")
    broken.chmod(0o640)
    with pytest.raises(ModelError, match="loading broken.om failed.*was it compiled for this chip"):
        opened(broken, name=name)
    other = onnx.load(str(tiny_model))
    for side, tail in ((other.graph.input[0], [17, 48, 56, 56]), (other.graph.output[0], [51])):
        del side.type.tensor_type.shape.dim[:]
        for n in [1, *tail]:
            side.type.tensor_type.shape.dim.add().dim_value = n
    path = om.write(tmp_path / "flat.om", other.SerializeToString(), {INPUT: [1, 17, 48, 56, 56]})
    with pytest.raises(
        ModelError, match=r"expected one output and \[N, 20, 17, 48, 56, 56\], layo"
    ):
        opened(path, name=name)


def test_a_static_file_said_to_have_gears(tiny_model: Path, tmp_path: Path) -> None:
    path = static(tiny_model, tmp_path / "bs4.om", 4)
    with pytest.raises(ModelError, match="compiled for 4 alone, not for 1, 4: check --dynamic"):
        opened(path, "1,4")


def test_descriptions(tiny_model: Path, tmp_path: Path, plain: Path) -> None:
    describe(plain, [1], geared=False, classes=[f"c{i}" for i in range(50)])
    with pytest.raises(ModelError, match="51 outputs a clip, and 50 class names.*--describe"):
        opened(plain)
    describe(plain, [1], geared=False, preprocessing={**preprocessing(), "sigma": 1.0})
    with pytest.raises(ModelError, match="wants preprocessing sigma=1.0"):
        opened(plain)
    with pytest.raises(UsageError, match="--gears is for one .om file without"):
        open_model(str(plain), "1")
    describe(plain, [1], geared=False)
    other = static(tiny_model, tmp_path / "bs2.om", 2)
    with pytest.raises(ModelError, match="bs2.om has no bs2.om.json, the others have"):
        open_model(f"{plain},{other}")
    describe(other, [1], geared=False)
    with pytest.raises(ModelError, match="two files of the same size"):
        open_model(f"{plain},{other}")
    describe(other, [2], geared=False, precision="f32")
    with pytest.raises(ModelError, match="differ in precision"):
        open_model(f"{plain},{other}")
    plain.write_bytes(plain.read_bytes() + b" ")
    with pytest.raises(ModelError, match="describes another file than bs1.om is now"):
        open_model(str(plain))
    plain.with_name("bs1.om.json").write_text(json.dumps({"layout": "clips"}))
    with pytest.raises(ModelError, match=r"bs1.om.json is damaged .KeyError.'gears'"):
        open_model(str(plain))


def test_the_choice_of_a_backend(plain: Path) -> None:
    assert choose("auto", compiled=True)[0] == "acl"
    with pytest.raises(UsageError, match="an OM runs on an Ascend NPU only"):
        choose("openvino", compiled=True)
    with pytest.raises(ModelError, match="the same file twice"):
        open_model(f"{plain},{plain}")
    with pytest.raises(UsageError, match="--device 0,1,0: the same device twice"):
        devices("0,1,0")


def test_onnx_is_not_for_it(tiny_model: Path) -> None:
    with pytest.raises(UsageError, match=r"runs .om files.*converters.onnx2om"):
        load("acl", open_model(str(tiny_model)), device=None, precision="f32", threads=0)


# Faults of the device


@pytest.mark.parametrize("name", ["acl", "pyacl"])
def test_a_run_behind_one_that_failed(
    name: str, doubles: None, plain: Path, clips: Any, expected: Any, faults: Path
) -> None:
    backend = opened(plain, name=name)
    faults.write_text("fail 507014")
    for lane in (0, 1):
        slot = backend.clips(lane, 20)
        slot[:] = clips[20 * lane : 20 * lane + 20]
        backend.start(lane, 20)
    with pytest.raises(BackendError, match="507014"):
        backend.finish(0)
    backend._jobs.popleft()  # type: ignore[attr-defined]
    np.testing.assert_allclose(backend.finish(1), expected[20:], rtol=1e-5, atol=1e-5)
    backend.close()


@pytest.mark.parametrize(
    ("name", "fault", "message"),
    [
        ("acl", "fail 507011", "ACL error 507011: .*compare the OM's soc_version"),
        (
            "acl",
            "fail 999999",
            r"(?s)sizes and names were checked before, so the device failed\n  the runtime printed:"
            r"\n    \[ACL ERROR\] EE9999.*\n    \[ERROR\] acl execute failed",
        ),
        ("pyacl", "fail 507014", "executing failed: ACL error 507014: an AI core timed out"),
        ("acl", "abort", r"the device process died over a run of 20 .SIGABRT."),
    ],
)
def test_faults(plain: Path, clips: Any, faults: Path, name: str, fault: str, message: str) -> None:
    backend = opened(plain, name=name)
    faults.write_text(fault)
    with pytest.raises(BackendError, match=message):
        run(backend, clips[:20])
    backend.close()


@pytest.mark.parametrize("api", ["2023", "2025"])
def test_memory_that_runs_out_at_a_copy(
    plain: Path, clips: Any, faults: Path, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    """That of 2023 calls it a general failure; what ACL printed tells that it is memory."""
    monkeypatch.setenv("DOUBLE_API", api)
    backend = opened(plain)
    faults.write_text("memory 1")
    with pytest.raises(ModelError, match=r"^a run of 20 failed: .*ACL error 207001: .*Give a smal"):
        run(backend, clips[:20])
    backend.close()


def test_pyacl_tells_gears_itself(
    tiny_model: Path, tmp_path: Path, clips: Any, expected: Any
) -> None:
    path = geared(tiny_model, tmp_path / "dyn.om", [1, 2])
    backend = opened(path, name="pyacl")
    assert backend.sizes == (20, 40)
    assert backend.facts.device == "NPU 0 (Ascend310P3)"
    np.testing.assert_allclose(run(backend, clips), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run(backend, clips[:20]), expected[:20], rtol=1e-5, atol=1e-5)
    backend.close()
    with pytest.raises(ModelError, match=r"was compiled for \(1, 2\), not for \(1, 8\)"):
        opened(path, "1,8", name="pyacl")


@pytest.mark.parametrize("name", ["acl", "pyacl"])
def test_a_file_that_was_replaced(tiny_model: Path, tmp_path: Path, name: str) -> None:
    """The device process looks at what the runtime has loaded: it reads by the path."""
    path = describe(static(tiny_model, tmp_path / "a.om", 1), [1], geared=False)
    model = open_model(str(path))
    other = write_model(tmp_path / "b.onnx", random_state_dict(STRIDED, seed=1), STRIDED)
    static(other, path, 1)
    with pytest.raises(ModelError, match="a.om is not the file that this run began with"):
        load(name, model, device=None, precision="f16", threads=0)
