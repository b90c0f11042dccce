"""ONNX to OM, with a stand-in for atc that checks what it is given."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from converters.onnx2om import main
from engine.base.constants import preprocessing
from engine.base.errors import ModelError
from engine.base.published import CHECKPOINTS
from engine.base.recipe import HMDB51_RECIPE
from engine.network.cuts import Cuts
from engine.network.models import open_model
from engine.network.om import describe
from engine.skeletons.clips import decode
from engine.skeletons.poses import PoseSequence
from tests.doubles import om
from tests.support import ROOT
from tests.support.networks import TINY, random_state_dict, write_model
from tests.support.samples import annotation

StandIn = Callable[[str], None]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A file of a free batch, here."""
    return write_model(tmp_path / "net.onnx", random_state_dict(TINY), TINY)


def test_the_recipes_command(
    stand_in: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the published recipe types, with the chip from npu-smi."""
    stand_in("310p3")
    write_model(tmp_path / "posec3d_bs8.onnx", random_state_dict(TINY), TINY, batch=8)
    assert main(["posec3d_bs8.onnx", "--dry-run"]) == 0
    recipe = (
        "atc --framework=5 --model=posec3d_bs8.onnx --output=posec3d_bs8 --input_format=ND "
        '--input_shape="onnx::Reshape_0:8,20,17,48,56,56" --soc_version=Ascend310P3 --log=error'
    )
    assert shlex.split(capsys.readouterr().out) == shlex.split(recipe)
    assert not list(tmp_path.glob("*.om"))


def commands(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[list[str]]:
    assert main([*arguments, "--dry-run", "--soc-version", "Ascend310P3"]) == 0
    return [shlex.split(line) for line in capsys.readouterr().out.splitlines()]


def test_sizes(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [command] = commands(capsys, "net.onnx")
    assert "--output=net_bs8" in command
    one, four = commands(capsys, "net.onnx", "--batch", "1,4")
    assert "--input_shape=onnx::Reshape_0:1,20,17,48,56,56" in one
    assert "--output=net_bs4" in four
    [geared] = commands(capsys, "net.onnx", "--gears", "1,2,4,8", "--fp16-inputs")
    assert "--input_shape=onnx::Reshape_0:-1,20,17,48,56,56" in geared
    assert geared[-2:] == ["--dynamic_batch_size=1,2,4,8", "--input_fp16_nodes=onnx::Reshape_0"]
    planned = commands(capsys, "net.onnx", "--layout", "frames")
    assert Path("net_frames.onnx").is_file()  # for another host, with the commands
    assert [c[3] for c in planned] == [f"--output=net_frames_u{u}" for u in (64, 96, 160, 480)]
    assert "--input_shape=frames:128,17,56,56;plan:20,48" in planned[0]
    [geared] = commands(capsys, "net.onnx", "--layout", "frames", "--gears", "64,480")
    assert "--input_shape=frames:-1,17,56,56;plan:20,48" in geared
    assert "--dynamic_batch_size=128,960" in geared
    [tuned] = commands(capsys, "net.onnx", "--atc=--keep_dtype=x", "--precision-mode", "force_fp32")
    assert tuned[-2:] == ["--precision_mode=force_fp32", "--keep_dtype=x"]


@pytest.mark.parametrize("chip", ["310P3", "Ascend310P3"])
def test_a_chip_as_npu_smi_shows_it(
    network: Path, capsys: pytest.CaptureFixture[str], chip: str
) -> None:
    """The recipe's chip_name."""
    assert main(["net.onnx", "--dry-run", "--soc-version", chip]) == 0
    assert "--soc_version=Ascend310P3" in shlex.split(capsys.readouterr().out)


@pytest.mark.parametrize("chip", ["foo", "Ascend", "910B4; rm", ""])
def test_what_is_no_chip(network: Path, capsys: pytest.CaptureFixture[str], chip: str) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["net.onnx", "--dry-run", "--soc-version", chip])
    assert ending.value.code == 2
    assert f"{chip!r} is no chip's name, such as Ascend310P3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net.onnx", "--unique", "64"], "--unique is for --layout shared and frames"),
        (["net.onnx", "--layout", "shared", "--gears", "8,9"], "--gears is for --layout clips and"),
        (["net.onnx", "--layout", "frames", "--onnx"], "--onnx is for --layout shared"),
        (["net.onnx", "--layout", "shared", "--batch", "1"], "--batch is for --layout clips"),
        (["net.onnx", "--gears", "8"], "2 to 100 of them"),
        (["net.onnx", "--gears", "1,x"], "--gears 1,x: numbers from 1 to 4096"),
        (["net.onnx", "--batch", "0"], "--batch 0: numbers from 1 to 4096"),
        (["net.onnx", "--layout", "shared", "--unique", "481"], "--unique 481: numbers from 1 to"),
        (["net.onnx", "--output", "no/net"], "make it first: mkdir -p"),
        (["net.onnx", "--output", "a b"], "letters, digits"),
        (["fixed.onnx", "--batch", "4"], "has a fixed batch of 2"),
        (["fixed.onnx", "--layout", "shared"], "layout shared needs it free"),
        (["none.onnx"], "no such file"),
    ],
)
def test_what_does_not_go_together(
    network: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    write_model(Path("fixed.onnx"), random_state_dict(TINY), TINY, batch=2)
    assert main([*arguments, "--dry-run", "--soc-version", "Ascend310P3"]) == 2
    assert message in capsys.readouterr().err


def test_a_host_without_cann(
    network: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["net.onnx"]) == 2
    assert "give --soc-version, the chip's name in npu-smi info" in capsys.readouterr().err
    assert main(["net.onnx", "--soc-version", "Ascend310P3"]) == 2
    assert "no atc here: it comes with CANN's toolkit" in capsys.readouterr().err


def test_compiled_and_described(stand_in: StandIn, network: Path) -> None:
    stand_in("310p3")
    assert main(["net.onnx", "--gears", "1,2", "--output", "out", "--fp16-inputs"]) == 0
    about = describe(Path("out_dyn.om"))
    assert about is not None
    assert (about.layout, about.gears, about.geared, about.dtype) == (
        "clips",
        (1, 2),
        True,
        "float16",
    )
    assert (about.precision, about.soc_version) == ("f16", "Ascend310P3")
    assert about.preprocessing == preprocessing()  # in the form that files have always had
    for chip, precision in (("Ascend310P3", "f16"), ("Ascend910B3", "f32")):
        exact = ["--precision-mode", "force_fp32", "--soc-version", chip, "--output", "exact"]
        assert main(["net.onnx", "--batch", "1", *exact]) == 0
        about = describe(Path("exact_bs1.om"))
        assert about is not None
        assert about.precision == precision
    assert open_model("out_dyn.om").classes == open_model("net.onnx").classes
    assert om.read(Path("out_dyn.om"))[0]["gears"] == [1, 2]


def test_what_a_file_is_tested_on_goes_along(stand_in: StandIn, tmp_path: Path) -> None:
    """Its split, and the published checkpoint that it is."""
    stand_in("310p3")
    known = CHECKPOINTS["slowonly_r50_8xb16-u48-240e_ntu60-xsub-keypoint"]
    path = write_model(tmp_path / "net.onnx", random_state_dict(TINY), TINY, recipe=known.recipe)
    model = onnx.load(str(path))
    about = {p.key: p.value for p in model.metadata_props}
    about |= {"split": "xsub_val", "source_sha256": known.sha256.ljust(64, "0")}
    onnx.helper.set_model_props(model, about)
    onnx.save(model, str(path))
    assert main(["net.onnx", "--batch", "1"]) == 0
    found = open_model("net_bs1.om")
    assert (found.recipe, found.split, found.published) == (known.recipe, "xsub_val", known)
    sidecar = tmp_path / "net_bs1.om.json"
    sidecar.write_text(sidecar.read_text().replace('"xsub_val"', "3"))
    with pytest.raises(ModelError, match=r"net_bs1.om.json is damaged .*split 3"):
        open_model("net_bs1.om")


def test_a_refusal_of_atc(
    stand_in: StandIn, network: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stand_in("310p3")
    assert main(["net.onnx", "--soc-version", "Ascend999"]) == 2
    found = capfd.readouterr()
    assert "E10001: soc_version Ascend999" in found.out
    assert "atc ended with exit code 1" in found.err


def test_a_name_with_the_platform(
    stand_in: StandIn,
    network: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    stand_in("310p3")
    monkeypatch.setenv("DOUBLE_ATC_SUFFIX", "_linux_aarch64")
    assert main(["net.onnx", "--batch", "1"]) == 0
    assert describe(Path("net_bs1_linux_aarch64.om")) is not None
    assert "loads on this platform only" in capfd.readouterr().err
    assert main(["net.onnx", "--gears", "1,2"]) == 2
    assert "compiled for any shape instead of for gears" in capfd.readouterr().err


def test_an_om_that_exists_is_described(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = om.write(
        Path("made.om"), network.read_bytes(), {"onnx::Reshape_0": [4, 20, 17, 48, 56, 56]}
    )
    base = ["net.onnx", "--soc-version", "Ascend310P3", "--describe"]
    assert main([*base, "none.om"]) == 2
    Path("empty.om").touch()
    assert main([*base, "empty.om", "--batch", "4"]) == 2
    assert "empty.om: it is empty" in capsys.readouterr().err
    assert main([*base, "made.om", "--batch", "4"]) == 0
    about = describe(path)
    assert about is not None
    assert about.gears == (4,)


def sessions(path: Path) -> tuple[Any, Any]:
    planned = Cuts.of(path.read_bytes()).planned()
    return (ort.InferenceSession(str(path)), ort.InferenceSession(planned.SerializeToString()))


@pytest.mark.parametrize("frames", [1, 30, 90])
def test_the_graph_of_frames_and_plan_is_the_same_network(network: Path, frames: int) -> None:
    plain, planned = sessions(network)
    clips = decode(PoseSequence.from_annotation(annotation(frames, seed=frames)), HMDB51_RECIPE)
    [expected] = plain.run(None, {"onnx::Reshape_0": clips.tensor()[None]})
    padded = np.ones((2 * clips.unique + 10, 17, 56, 56), np.float32)  # filler does not matter
    padded[: 2 * clips.unique] = clips.frames.dense()
    plan = np.concatenate([clips.plan, clips.plan + clips.unique])
    [found] = planned.run(None, {"frames": padded, "plan": plan})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_double_is_on_no_path_of_the_engine() -> None:
    for path in (ROOT / "engine").rglob("*.py"):
        assert "doubles" not in path.read_text()
