"""The converter as the recipe calls it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from converters import pytorch2onnx, verification
from converters.graph import select_weights
from converters.network import Architecture, convolutions
from converters.pytorch2onnx import main
from converters.slowonly import SlowOnly
from converters.verification import difference, example_clip, run_checkpoint, run_onnx
from engine.base.published import DEFAULT_CHECKPOINT as CONFIG
from engine.base.recipe import HMDB51_RECIPE
from engine.network.models import open_model
from tests.support import DATA
from tests.support.networks import TINY, TINY_C3D, TINY_X3D, random_state_dict, write_model
from tests.unit.converters.test_config import MODEL


@pytest.fixture
def checkpoint(shared: Path) -> str:
    return str(shared / "models" / "posec3d_jhmdb_split1.pth")


def test_the_recipes_command(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its config is a file of mmaction2, which is not there."""
    config = f"./mmaction2/configs/skeleton/posec3d/{CONFIG}.py"
    output = tmp_path / "sub" / "posec3d_bs8.onnx"
    shape = ["8", "20", "17", "48", "56", "56"]
    arguments = [config, checkpoint, "--shape", *shape, "--verify", "--output-file", str(output)]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "verified against" in text
    assert float(text.split("difference ")[1].split()[0]) < 1e-5
    assert open_model(str(output)).batch == 8
    assert [p.name for p in output.parent.iterdir()] == [output.name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shape", "1", "3", "8", "224", "224"], "expected BS 20 17 48 56 56"),
        (["--shape", "0", "20", "17", "48", "56", "56"], "expected BS"),
        (["--via", "mmaction2"], "go together"),
        (["--classes", "nowhere.txt"], "nowhere.txt"),
        (["--shape", "99999999999999999999", *["20", "17", "48", "56", "56"]], "expected BS"),
        (["--input-name", ""], "needs a name"),
        (["--input-name", "logits"], "is a tensor of the network"),
        (["--input-name", "conv1.weight"], "is a tensor of the network"),
        (["--output-file", "/dev/null/x.onnx"], "/dev/null/x.onnx"),
    ],
)
def test_usage(
    checkpoint: str, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main([CONFIG, checkpoint, *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    """A config, the one below it, a checkpoint, and a list of classes. None is read."""
    (tmp_path / "base.py").write_text("a = 1\n")
    (tmp_path / "config.py").write_text("_base_ = 'base.py'\n")
    (tmp_path / "checkpoint.onnx").write_bytes(b"weights")
    (tmp_path / "names.txt").write_text("names\n")
    names = ("config.py", "base.py", "checkpoint.onnx", "names.txt")
    return [tmp_path / name for name in names]


@pytest.mark.parametrize("flag", ["--output-file", "--sources"])
def test_what_is_read_is_not_written_over(
    inputs: list[Path], capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    """By its own name or by another."""
    config, _, checkpoint, names = map(str, inputs)
    before = [path.read_bytes() for path in inputs]
    for path in inputs:
        link = path.with_name("link.onnx")
        link.symlink_to(path)
        assert main([config, checkpoint, "--classes", names, flag, str(link)]) == 2
        assert f"{flag} {link} is a file that is to be read" in capsys.readouterr().err
        link.unlink()
    assert main([config, checkpoint, "--output-file", checkpoint]) == 2
    assert main([config, checkpoint, "--output-file", names]) == 2
    assert "must end in .onnx" in capsys.readouterr().err
    assert [path.read_bytes() for path in inputs] == before


@pytest.mark.parametrize(
    ("ann_file", "first"), [("data/kitchen.pkl", "class_0"), ("hmdb51_2d.pkl", "brush_hair")]
)
def test_whose_class_names(tmp_path: Path, shared: Path, ann_file: str, first: str) -> None:
    """HMDB51's where its data are tested on, not wherever there are 51 classes."""
    path = tmp_path / "config.py"
    data = f"data = dict(test=dict(ann_file='{ann_file}', pipeline=test_pipeline))\n"
    path.write_text(MODEL + data)
    checkpoint = str(shared / "models" / "posec3d_jhmdb_split1.pth")
    output = str(tmp_path / "a.onnx")
    assert main([str(path), checkpoint, "--no-verify", "--output-file", output]) == 0
    assert open_model(output).classes[0] == first


@pytest.mark.parametrize("flag", ["--softmax", "--is-localizer"])
def test_refused_flags(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main([CONFIG, "x.pth", flag])
    assert caught.value.code == 2
    assert f"{flag} is not supported" in capsys.readouterr().err


def test_class_names(checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "names.txt").write_text("\n".join(f"action {i}" for i in range(51)) + "\n")
    output = tmp_path / "a.onnx"
    arguments = [CONFIG, checkpoint, "--output-file", str(output), "--no-verify"]
    assert main([*arguments, "--classes", str(tmp_path / "names.txt")]) == 0
    assert open_model(str(output)).classes[50] == "action 50"
    (tmp_path / "names.txt").write_text("one\n")
    assert main([*arguments, "--classes", str(tmp_path / "names.txt")]) == 2
    assert "1 names for a network of 51" in capsys.readouterr().err


def test_a_wrong_export_is_not_written(
    checkpoint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One bias of 43 off by a hundredth."""
    build = pytorch2onnx.build_clips

    def wrong(*args: Any, **options: Any) -> onnx.ModelProto:
        model = build(*args, **options)
        for tensor in model.graph.initializer:
            if tensor.name == "layer2.1.conv2.bias":
                array = numpy_helper.to_array(tensor) + np.float32(0.01)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        return model

    monkeypatch.setattr(pytorch2onnx, "build_clips", wrong)
    assert main([CONFIG, checkpoint, "--output-file", str(tmp_path / "a.onnx")]) == 2
    assert "not written: its logits differ" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_verification_sees_every_tensor(tmp_path: Path) -> None:
    """Both computations agree, and each input channel matters to the comparison."""
    state = random_state_dict(TINY)
    weights = select_weights(TINY, state)
    clip = example_clip(HMDB51_RECIPE)
    expected, _ = run_checkpoint(TINY, weights, clip)
    found = run_onnx(write_model(tmp_path / "a.onnx", state, TINY), clip)
    assert difference(found, expected) < 1e-5
    for channel in range(17):
        changed = dict(state)
        kernel = changed["backbone.conv1.conv.weight"] = state["backbone.conv1.conv.weight"].copy()
        kernel[:, channel] *= 1.1
        found = run_onnx(write_model(tmp_path / "b.onnx", changed, TINY), clip)
        assert difference(found, expected) > verification.TOLERANCE


@pytest.mark.parametrize(
    "arch", [pytest.param(SlowOnly(), marks=pytest.mark.slow), TINY, TINY_C3D, TINY_X3D]
)
def test_torch_and_numpy_agree(arch: Architecture) -> None:
    pytest.importorskip("torch", reason="torch is not installed; numpy alone verifies")
    weights = select_weights(arch, random_state_dict(arch))
    clip = example_clip(HMDB51_RECIPE)
    by_torch, name = run_checkpoint(arch, weights, clip)
    assert name.startswith("torch")
    by_numpy = verification._network(arch, clip, verification._NumpyLayers(weights))
    assert difference(by_torch, by_numpy) < 1e-5


@pytest.mark.parametrize("arch", [TINY_C3D, TINY_X3D])
def test_other_networks(arch: Architecture, tmp_path: Path) -> None:
    """The file computes what the checkpoint says, and each convolution matters to that."""
    state = random_state_dict(arch)
    clip = example_clip(HMDB51_RECIPE)
    expected, _ = run_checkpoint(arch, select_weights(arch, state), clip)
    found = run_onnx(write_model(tmp_path / "a.onnx", state, arch), clip)
    assert difference(found, expected) < 1e-5
    for conv in convolutions(arch):
        changed = dict(state)
        name = f"backbone.{conv.name}.conv.weight"
        changed[name] = state[name] * np.float32(1.1)
        found = run_onnx(write_model(tmp_path / "b.onnx", changed, arch), clip)
        assert difference(found, expected) > verification.TOLERANCE, name


def test_via_mmaction2_says_what_is_missing(
    checkpoint: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.py"
    config.write_text("model = dict()")
    shape = ["--shape", "1", "20", "17", "48", "56", "56"]
    arguments = [checkpoint, *shape, "--via", "mmaction2", "--python"]
    assert main([CONFIG, *arguments, sys.executable]) == 2
    assert "needs a config file, not a name" in capfd.readouterr().err
    assert main([CONFIG, str(DATA / "checkpoint_zip.pth"), *arguments[1:], "/no/python"]) == 2
