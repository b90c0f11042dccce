"""What a model file says of itself, and what is refused."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import engine
from converters import onnx2om
from converters.network import Architecture
from engine.backends.registry import load
from engine.base import assets
from engine.base.constants import HMDB51
from engine.base.errors import ModelError, UsageError
from engine.base.published import CHECKPOINTS, DEFAULT_CHECKPOINT
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.network.models import open_model
from engine.network.runners.opening import open_runner
from engine.skeletons.clips import decode
from engine.skeletons.poses import PoseSequence
from tests.support import DATA, damage
from tests.support.damage import FIRST, Damage, damaged
from tests.support.networks import TINY, TINY_C3D, TINY_X3D, random_state_dict, write_model
from tests.support.samples import annotation


def change(path: Path, tmp_path: Path, **properties: str | None) -> str:
    model = onnx.load(str(path))
    props = {p.key: p.value for p in model.metadata_props} | properties
    del model.metadata_props[:]
    helper.set_model_props(model, {k: v for k, v in props.items() if v is not None})
    out = tmp_path / "changed.onnx"
    out.write_bytes(model.SerializeToString())
    return str(out)


def test_facts(tiny_model: Path, tmp_path: Path) -> None:
    model = open_model(str(tiny_model))
    assert model.input_name == "onnx::Reshape_0"
    assert model.batch is None
    assert model.classes == HMDB51
    assert model.sha256 == assets.file_sha256(tiny_model)
    fixed = write_model(tmp_path / "bs4.onnx", random_state_dict(TINY), TINY, batch=4)
    assert open_model(str(fixed)).batch == 4


RECIPE = HMDB51_RECIPE.to_json()


def test_no_metadata_is_taken_with_one_warning(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bare = change(tiny_model, tmp_path, layout=None, classes=None, preprocessing=None)
    with caplog.at_level(logging.WARNING):
        assert open_model(bare).classes == HMDB51
    assert [r.levelname for r in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"layout": "folded"}, "layout 'folded'.* Convert it again"),
        ({"preprocessing": '{"clip_len": 32}'}, "preprocessing clip_len=32"),
        ({"preprocessing": '{"clip_len": 48, "limbs": true}'}, "unknown preprocessing limbs"),
        ({"preprocessing": '{"limbs": null}'}, "changed.onnx: recipe: clips, .* missing"),
        ({"preprocessing": json.dumps({**RECIPE, "hands": 2})}, "recipe: unknown hands; convert"),
        ({"preprocessing": json.dumps({**RECIPE, "size": 0})}, "recipe: size is 0"),
        ({"preprocessing": json.dumps({**RECIPE, "size": 64})}, r"expected .batch, 20, .* 64, 64"),
        ({"preprocessing": "{"}, "damaged metadata"),
        ({"preprocessing": None}, "damaged metadata"),
        ({"layout": None}, "layout is missing beside classes, preprocessing.; convert it again"),
        ({"preprocessing": json.dumps({**RECIPE, "limbs": [[3, 3]] * 17})}, "limb 3-3 .* again"),
        ({"classes": json.dumps(["a", "b"])}, "2 class names for 51 outputs; convert it again"),
        ({"classes": json.dumps([*range(51)])}, "classes is no list of names"),
        ({"classes": json.dumps("a" * 51)}, "classes is no list of names"),
    ],
)
def test_metadata_refused(tiny_model: Path, tmp_path: Path, properties: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        open_model(change(tiny_model, tmp_path, **properties))


def network(shape: list[Any], inputs: int = 1, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    names = [f"x{i}" for i in range(inputs)]
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", [names[0]], ["y"])],
            "g",
            [helper.make_tensor_value_info(n, kind, shape) for n in names],
            [helper.make_tensor_value_info("y", kind, [20, 51])],
        )
    )


CLIPS = ["n", 20, 17, 48, 56, 56]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (network(["n", 17, 48, 56, 56]), r"expected \[batch, 20, 17, 48, 56, 56\]"),
        (network([1, 20, 3, 8, 224, 224]), "shape .*224.* carries no recipe, .*pytorch2onnx"),
        (network(CLIPS, inputs=2), "2 inputs and 1 outputs"),
        (network(CLIPS, kind=TensorProto.FLOAT16), "not float32"),
    ],
)
def test_other_networks(tmp_path: Path, model: onnx.ModelProto, message: str) -> None:
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=message):
        open_model(str(tmp_path / "a.onnx"))


def test_weights_in_other_files(tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(str(tiny_model))
    onnx.save(model, str(tmp_path / "a.onnx"), save_as_external_data=True, size_threshold=0)
    with pytest.raises(ModelError, match="in other files"):
        open_model(str(tmp_path / "a.onnx"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.onnx", b"\x08\x06 not protobuf", "damaged or not an ONNX file"),
        ("a.onnx", b"", "is empty"),
        ("a.bin", b"", "end in .onnx, .om or .pth"),
        ("a.pth", b"", "truncated or not a torch checkpoint"),
    ],
)
def test_unusable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        open_model(str(tmp_path / name))


def test_truncated(tiny_model: Path, tmp_path: Path) -> None:
    whole = tiny_model.read_bytes()
    (tmp_path / "a.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError):
        open_model(str(tmp_path / "a.onnx"))


def test_missing() -> None:
    with pytest.raises(ModelError, match="no such file, and neither demo nor the name"):
        open_model("nowhere.onnx")


@pytest.mark.parametrize("arch", [TINY_C3D, TINY_X3D])
def test_networks_of_whole_clips(
    tmp_path: Path, arch: Architecture, capsys: pytest.CaptureFixture[str]
) -> None:
    """C3D and X3D look along time from their first convolution on: nothing is shared."""
    path = write_model(tmp_path / "other.onnx", random_state_dict(arch), arch)
    model = open_model(str(path))
    assert model.network == arch.network
    assert model.with_layout("auto", whole_clips=False).layout == "clips"
    with pytest.raises(UsageError, match=rf"\({arch.network}\) cannot be cut .* --layout clips"):
        model.with_layout("shared", whole_clips=False)
    with pytest.raises(
        UsageError, match=f"holds the network {arch.network}, which --backend torch"
    ):
        load("torch", model, device="cpu", precision="f32", threads=1)
    shared = ["--layout", "shared", "--soc-version", "Ascend310P3", "--dry-run"]
    assert onnx2om.main([str(path), *shared]) == 2
    assert "cannot be cut" in capsys.readouterr().err


def test_a_checkpoint_of_another_network() -> None:
    with pytest.raises(ModelError, match="lacks backbone.*another"):
        open_model(str(DATA / "checkpoint_zip.pth"))


def test_published_checkpoint_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    name = DEFAULT_CHECKPOINT
    unreachable = replace(CHECKPOINTS[name], url="http://127.0.0.1:9/x")
    monkeypatch.setitem(CHECKPOINTS, name, unreachable)
    with pytest.raises(UsageError, match="ENGINE_DATA_DIR"):
        open_model(name)


def test_checkpoint_is_converted_once(shared: Path) -> None:
    path = str(shared / "models" / "posec3d_jhmdb_split1.pth")
    first = open_model(path)
    stamp = first.path.stat().st_mtime_ns
    assert open_model(path) == first
    assert first.path.stat().st_mtime_ns == stamp
    assert first.path.is_relative_to(assets.cache_dir())


def test_a_softmax_at_the_end(tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(str(tiny_model))
    model.graph.node.append(helper.make_node("Softmax", ["logits"], ["p"], axis=1))
    model.graph.output[0].name = "p"
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="ends in a Softmax"):
        open_model(str(tmp_path / "a.onnx"))


@pytest.mark.parametrize("text", ["[1, 2]", "null", "[" * 100_000])
def test_metadata_of_another_form(tiny_model: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelError, match="damaged metadata"):
        open_model(change(tiny_model, tmp_path, preprocessing=text))


@pytest.mark.slow
def test_a_damaged_conversion_is_made_again(shared: Path) -> None:
    spec = str(shared / "models" / "posec3d_jhmdb_split1.pth")
    model = open_model(spec)
    whole = model.path.read_bytes()
    for found in (whole[:1000], whole[:-400_000] + bytes(400) + whole[-399_600:]):
        model.path.write_bytes(found)
        assert open_model(spec) == model
        assert model.path.read_bytes() == whole


def test_the_input_of_a_file(tmp_path: Path) -> None:
    """By `engine.preprocess`, of its own recipe, or as another reference draws it."""
    recipe = Recipe(size=64, clips=2)
    path = write_model(tmp_path / "a.onnx", random_state_dict(TINY), TINY, recipe=recipe)
    given = annotation(60, persons=2, seed=1)
    found = engine.preprocess(given, model=path)
    assert found.shape == (4, 17, 48, 64, 64)
    poses = PoseSequence.from_annotation(given)
    np.testing.assert_array_equal(found, decode(poses, recipe).tensor())
    modern = engine.preprocess(given, "1.x", model=str(path))
    np.testing.assert_array_equal(modern, decode(poses, recipe.drawn_as("1.x")).tensor())
    with pytest.raises(ModelError, match="no such file"):
        engine.preprocess(given, model=tmp_path / "b.onnx")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damage.weight(FIRST, damage.one(np.nan)), f"{FIRST} holds values that are not finite"),
        (damage.weight(FIRST, damage.one(-np.inf)), f"{FIRST} holds values that are not finite"),
        (damage.constant_nan, f"{FIRST} holds values that are not finite"),
        (damage.attribute("Gemm", transB=1, alpha=np.nan), "attribute alpha of a node is no fin"),
        (damage.declared(60), r"no valid ONNX graph: .* \(51\) vs \(60\)"),
        (damage.declared(2**62), "declares 4611686018427387904 classes; at most 65536"),
        (damage.batch(2**40), "takes 1099511627776 samples at once; at most 4096"),
        (damage.fed_by_itself, "no valid ONNX graph: .*conv2.relu OpType: Relu is not output of"),
        (damage.in_a_circle, "no valid ONNX graph: .*downsample OpType: Conv is not output of"),
        (damage.swollen, "swollen has 4,294,967,296 values where the network's input has 51,"),
        (damage.without_numbers, f"no valid ONNX graph: .*{FIRST}"),
    ],
)
def test_flaws(tiny_model: Path, tmp_path: Path, change: Damage, message: str) -> None:
    path = damaged(tmp_path / "flawed.onnx", tiny_model, change)
    with pytest.raises(ModelError, match=f"flawed.onnx.*{message}"):
        open_model(str(path))


@pytest.mark.parametrize(
    "change",
    [
        damage.attribute("Gemm", transB=1, alpha=2.0),
        damage.attribute("Conv", dilations=[1, 2, 2], pads=[0, 2, 2] * 2),
        damage.attribute("MaxPool", ceil_mode=1),
        damage.other("Relu", "LeakyRelu"),
        damage.chained,
    ],
)
def test_what_parts_would_compute_otherwise(
    tiny_model: Path, tmp_path: Path, change: Damage
) -> None:
    """A network is cut only where every node is known to be the same for single positions."""
    model = open_model(str(damaged(tmp_path / "a.onnx", tiny_model, change)))
    assert model.with_layout("auto", whole_clips=False).layout == "clips"
    with pytest.raises(UsageError, match="cannot be cut between frames"):
        model.with_layout("shared", whole_clips=False)


def test_numbers_beyond_a_precision(tiny_model: Path, tmp_path: Path) -> None:
    path = damaged(tmp_path / "a.onnx", tiny_model, damage.weight(FIRST, damage.one(1e5)))
    with pytest.raises(UsageError, match=r"a.onnx holds numbers up to 1e\+05, and --precision f16"):
        load("torch", open_model(str(path)), device="cpu", precision="f16", threads=1)


def test_a_batch_beyond_the_memory(tiny_model: Path, tmp_path: Path) -> None:
    path = damaged(tmp_path / "a.onnx", tiny_model, damage.batch(4096))
    with pytest.raises(UsageError, match="takes 4096 samples at once, whose clips are 839 GB"):
        load("onnxruntime", open_model(str(path)), device=None, precision="f32", threads=1)


@pytest.mark.parametrize("layout", ["clips", "shared"])
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "torch"])
def test_the_first_run(tiny_model: Path, tmp_path: Path, backend: str, layout: str) -> None:
    """What it gives is held against what the file declares, and is finite."""
    if backend == "torch":
        pytest.importorskip("torch")
    settings: Any = {"device": "cpu" if backend == "torch" else None, "precision": "f32"}
    model = open_model(str(tiny_model)).with_layout(layout, whole_clips=False)
    loaded = load(backend, model, **settings, threads=1)
    named = replace(model, classes=tuple(f"class_{number}" for number in range(60)))
    with pytest.raises(ModelError, match=r"tiny.onnx on .*\[\d+, 51\] .* declares 60 classes"):
        open_runner(loaded, named, model.recipe)
    loaded.close()
    path = damaged(
        tmp_path / "a.onnx", tiny_model, damage.weight("fc_cls.weight", lambda a: a * 0 + 3e38)
    )
    model = open_model(str(path)).with_layout(layout, whole_clips=False)
    loaded = load(backend, model, **settings, threads=1)
    with pytest.raises(ModelError, match=r"a.onnx on .* are not finite on .* in f32"):
        open_runner(loaded, model, model.recipe)
    loaded.close()


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "torch"])
def test_a_file_that_was_replaced(tiny_model: Path, tmp_path: Path, backend: str) -> None:
    """Whoever loads it later loads what was opened, or nothing."""
    if backend == "torch":
        pytest.importorskip("torch")
    settings: Any = {"device": "cpu" if backend == "torch" else None, "precision": "f32"}
    path = tmp_path / "a.onnx"
    path.write_bytes(tiny_model.read_bytes())
    model = open_model(str(path))
    write_model(path, random_state_dict(TINY, seed=1), TINY)
    with pytest.raises(ModelError, match=r"a.onnx is not the file that this run began with"):
        load(backend, model, **settings, threads=1)


def test_names_that_are_no_text(tiny_model: Path, tmp_path: Path) -> None:
    """Protobuf hands them over as bytes."""
    content = tiny_model.read_bytes()
    assert content.count(b"0" * 64) == 1  # the digest of its checkpoint
    (tmp_path / "a.onnx").write_bytes(content.replace(b"0" * 64, b"\xff" * 64))
    with pytest.raises(ModelError, match=r"a\.onnx is damaged: it has names that are not UTF-8"):
        open_model(str(tmp_path / "a.onnx"))
