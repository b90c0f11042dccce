"""The backend for NPUs against a test double of its runtime: the double's logits are real, and
it keeps the rules that the runtime's source states."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from engine import compiled
from engine.aggregator import Failure, Prediction
from engine.backends import Backend, choose, load
from engine.classes import HMDB51
from engine.compiled import Description
from engine.constants import CLIP_SHAPE, VIEWS, preprocessing
from engine.errors import BackendError, ModelError, UsageError
from engine.models import open_model
from engine.parts import Cuts
from engine.pipeline import Pipeline
from tests.conftest import ROOT
from tests.doubles import om
from tests.engine.conftest import options

SAMPLE = VIEWS * int(np.prod(CLIP_SHAPE)) * 4  # bytes
INPUT = "onnx::Reshape_0"


@pytest.fixture(autouse=True)
def _double(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "doubles"))


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the next runs of the device come to: see the double."""
    folder = tmp_path / "faults"
    folder.mkdir()
    monkeypatch.setenv("DOUBLE_FAULTS", str(folder))
    return folder / "execute"


def static(model: Path, path: Path, batch: int, **more: Any) -> Path:
    return om.write(path, model.read_bytes(), {INPUT: [batch, VIEWS, *CLIP_SHAPE]}, **more)


def geared(model: Path, path: Path, gears: Sequence[int], **more: Any) -> Path:
    return om.write(path, model.read_bytes(), {INPUT: [-1, VIEWS, *CLIP_SHAPE]}, gears, **more)


def describe(path: Path, gears: Sequence[int], *, geared: bool, **more: Any) -> Path:
    about: dict[str, Any] = {
        "layout": "clips", "gears": tuple(gears), "geared": geared, "dtype": "float32",
        "precision": "f16", "classes": HMDB51, "preprocessing": preprocessing(),
        "soc_version": "Ascend310P3", "sha256": compiled.assets.file_sha256(path),
    }  # fmt: skip
    Description(**{**about, **more}).write(path)
    return path


def opened(path: Path | str, gears: str | None = None, device: str | None = None) -> Backend:
    model = open_model(str(path), gears)
    return load("acl", model, device=device, precision="f16", threads=0)


def run(backend: Backend, data: Any, lane: int = 0) -> Any:
    [clips] = backend.inputs(lane, len(data))
    clips[:] = data
    backend.start(lane, len(data))
    return backend.finish(lane)


@pytest.fixture(scope="module")
def clips() -> Any:
    """Two samples: [40, 17, 48, 56, 56]."""
    return np.random.default_rng(0).random((2 * VIEWS, *CLIP_SHAPE), np.float32)


@pytest.fixture(scope="module")
def expected(tiny_model: Path, clips: Any) -> Any:
    """Their logits by ONNX Runtime in this process."""
    backend = load("onnxruntime", open_model(str(tiny_model)), device=None, precision="f32",
                   threads=2)  # fmt: skip
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


def test_slots_are_independent(plain: Path, clips: Any, expected: Any) -> None:
    backend = opened(plain)
    for lane in (0, 1):
        [slot] = backend.inputs(lane, 20)
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


def test_several_static_files(tiny_model: Path, tmp_path: Path, clips: Any, expected: Any) -> None:
    paths = [static(tiny_model, tmp_path / f"bs{n}.om", n) for n in (1, 2)]
    backend = opened(",".join(map(str, paths)))
    assert backend.sizes == (20, 40)
    np.testing.assert_allclose(run(backend, clips), expected, rtol=1e-5, atol=1e-5)
    backend.close()


def test_half_precision_inputs(tiny_model: Path, tmp_path: Path, clips: Any, expected: Any) -> None:
    path = static(tiny_model, tmp_path / "half.om", 1, fp16=[INPUT])
    backend = opened(path)
    assert backend.inputs(0, 20)[0].dtype == np.float16
    np.testing.assert_allclose(run(backend, clips[:20]), expected[:20], rtol=0, atol=2e-2)
    backend.close()


# Memory


def test_a_file_that_the_device_has_no_memory_for_is_left_out(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setenv("DOUBLE_MEMORY", str(om.WORKSPACE * 2 * SAMPLE))
    paths = [describe(static(tiny_model, tmp_path / f"bs{n}.om", n), [n], geared=False)
             for n in (4, 2)]  # fmt: skip
    backend = opened(",".join(map(str, paths)))
    assert backend.sizes == (40,)
    assert "ACL error 207001: the device has no memory left" in caplog.text
    assert "going on without bs4.om" in caplog.text
    backend.close()
    with pytest.raises(ModelError, match="Give a smaller file as well"):
        opened(paths[0])


def test_a_graph_with_gears_reserves_its_largest(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOUBLE_MEMORY", str(om.WORKSPACE * 4 * SAMPLE))
    path = describe(geared(tiny_model, tmp_path / "dyn.om", [1, 4, 8]), [1, 4, 8], geared=True)
    with pytest.raises(ModelError, match="compile it anew without 8 .*--gears 1,4"):
        opened(path)


def test_memory_that_runs_out_at_a_run(
    tiny_model: Path, tmp_path: Path, clips: Any, expected: Any, faults: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """The larger file is given up; what had been started is run again, in pieces."""
    paths = [static(tiny_model, tmp_path / f"bs{n}.om", n) for n in (2, 1)]
    backend = opened(",".join(map(str, paths)))
    first = backend._process.pid  # type: ignore[attr-defined]
    faults.write_text(f"memory {2 * SAMPLE}")
    for lane in (0, 1):
        [slot] = backend.inputs(lane, 40)
        slot[:] = clips
        backend.start(lane, 40)
    for lane in (0, 1):
        np.testing.assert_allclose(backend.finish(lane), expected, rtol=1e-5, atol=1e-5)
    assert backend.sizes == (20,)
    assert backend._process.pid != first  # type: ignore[attr-defined]
    assert "going on with bs1.om" in caplog.text
    faults.write_text("memory 1")
    with pytest.raises(BackendError, match="207001.*Give a smaller file"):
        run(backend, clips[:20])
    backend.close()


# Refusals


@pytest.mark.parametrize(
    ("device", "message"),
    [("7", "107001: there is no such device"), ("NPU", "an NPU is a number from 0 to 255"),
     ("256", "an NPU is a number")],
)  # fmt: skip
def test_devices(plain: Path, device: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        opened(plain, device=device)


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


def test_what_is_no_model_of_ours(tiny_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.om"
    broken.write_bytes(b"not an OM")
    broken.chmod(0o640)
    with pytest.raises(ModelError, match="loading broken.om failed.*was it compiled for this chip"):
        opened(broken)
    other = onnx.load(str(tiny_model))
    for side, tail in ((other.graph.input[0], [17, 48, 56, 56]), (other.graph.output[0], [51])):
        del side.type.tensor_type.shape.dim[:]
        for n in [1, *tail]:
            side.type.tensor_type.shape.dim.add().dim_value = n
    path = om.write(tmp_path / "flat.om", other.SerializeToString(), {INPUT: [1, 17, 48, 56, 56]})
    with pytest.raises(ModelError, match=r"expected one output and \[N, …\]"):
        opened(path)


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


def test_onnx_is_not_for_it(tiny_model: Path) -> None:
    with pytest.raises(UsageError, match=r"runs .om files.*converters.onnx2om"):
        load("acl", open_model(str(tiny_model)), device=None, precision="f32", threads=0)


# Faults of the device


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("fail 507011", "ACL error 507011: .*compare the OM's soc_version"),
        ("fail 999999", "sizes and names were checked before, so the device failed; it printed"),
        ("abort", r"the device process died over a run of 20 .SIGABRT."),
    ],
)
def test_faults(plain: Path, clips: Any, faults: Path, fault: str, message: str) -> None:
    backend = opened(plain)
    faults.write_text(fault)
    with pytest.raises(BackendError, match=message):
        run(backend, clips[:20])
    backend.close()


# The whole pipeline


@pytest.fixture
def many(tiny_model: Path, tmp_path: Path) -> Path:
    return describe(geared(tiny_model, tmp_path / "many.om", [1, 2, 4]), [1, 2, 4], geared=True)


def scored(pipeline: Pipeline) -> dict[str, Any]:
    return {record.id: record.scores for record in pipeline if isinstance(record, Prediction)}


def same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found.keys() == wanted.keys()
    for name, scores in wanted.items():
        np.testing.assert_allclose(found[name], scores, rtol=0, atol=1e-5)


@pytest.fixture
def undisturbed(data: Path, tiny_model: Path) -> dict[str, Any]:
    with Pipeline(options(data, tiny_model, limit=9)) as pipeline:
        return scored(pipeline)


@pytest.mark.parametrize("in_process", [False, True])
def test_scores_are_those_of_a_cpu(
    data: Path, many: Path, undisturbed: dict[str, Any], in_process: bool
) -> None:
    with Pipeline(options(data, many, limit=9, in_process=in_process)) as pipeline:
        assert pipeline.max_batch == 4
        same(scored(pipeline), undisturbed)
        assert pipeline.figures.clips_padded == 0  # the gears fit every remainder


def test_two_devices(
    data: Path, many: Path, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOUBLE_DEVICES", "2")
    with Pipeline(options(data, many, limit=9, device="0,1")) as pipeline:
        assert pipeline.facts.device == "NPU 0 (Ascend310P3), NPU 1 (Ascend310P3)"
        same(scored(pipeline), undisturbed)
    with pytest.raises(UsageError, match="there is no such device"):
        Pipeline(options(data, many, limit=9, device="0,2"))


@pytest.mark.parametrize("fault", ["fail 507015", "abort", "hang"])
def test_a_device_that_fails_is_opened_anew(
    data: Path, many: Path, undisturbed: dict[str, Any], faults: Path, fault: str
) -> None:
    faults.write_text(f"ok\nok\n{fault}")  # the first one warms it up
    chosen = options(data, many, limit=9, stall_timeout=5.0)
    with Pipeline(chosen) as pipeline:
        same(scored(pipeline), undisturbed)
        assert pipeline.figures.restarts == 1


# Frames and a plan


def planned(model: Path, path: Path, uniques: Sequence[int], *, geared: bool) -> Path:
    """An OM, or several separated by commas, of layout ``shared``."""
    graph = Cuts.of(model).planned().SerializeToString()
    sizes = [tuple(2 * u for u in uniques)] if geared else [(2 * u,) for u in uniques]
    paths = []
    for gears in sizes:
        first = -1 if geared else gears[0]
        shapes = {"frames": [first, 17, 56, 56], "plan": [VIEWS, 48]}
        name = path.with_name(f"{path.stem}_{gears[-1]}.om")
        om.write(name, graph, shapes, gears if geared else ())
        paths.append(describe(name, gears, geared=geared, layout="shared"))
    return Path(",".join(map(str, paths)))


@pytest.mark.parametrize("geared", [False, True])
@pytest.mark.parametrize("in_process", [False, True])
def test_frames_and_a_plan(
    data: Path, tiny_model: Path, tmp_path: Path, undisturbed: dict[str, Any], geared: bool,
    in_process: bool,
) -> None:  # fmt: skip
    path = planned(tiny_model, tmp_path / "shared.om", [16, 48, 480], geared=geared)
    with Pipeline(options(data, path, limit=9, in_process=in_process)) as pipeline:
        assert pipeline.model.layout == "shared"
        same(scored(pipeline), undisturbed)


@pytest.mark.parametrize("in_process", [False, True])
def test_more_frames_than_were_compiled_for(
    data: Path, tiny_model: Path, tmp_path: Path, undisturbed: dict[str, Any], in_process: bool
) -> None:
    path = planned(tiny_model, tmp_path / "shared.om", [16, 40], geared=False)
    with Pipeline(options(data, path, limit=9, in_process=in_process)) as pipeline:
        records = list(pipeline)
    failed = [r for r in records if isinstance(r, Failure) and r.stage == "infer"]
    assert [r.index for r in failed] == [6, 8]
    assert "41 distinct frames, and the largest file takes 40" in failed[0].message
    found = {r.id: r.scores for r in records if isinstance(r, Prediction)}
    same(found, {name: undisturbed[name] for name in found})


def test_whole_clips_do_not_go_into_it(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    path = planned(tiny_model, tmp_path / "shared.om", [16], geared=False)
    with pytest.raises(UsageError, match="takes distinct frames .layout shared., which --wire"):
        Pipeline(options(data, path, wire="clips"))
    with pytest.raises(UsageError, match="--layout clips: .* was compiled as shared"):
        Pipeline(options(data, path, layout="clips"))
