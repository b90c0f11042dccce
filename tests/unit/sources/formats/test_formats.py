"""Every format: what is written comes back, through data sets and sources; what is broken is
refused."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.base.errors import DatasetError, EngineError, SourceError
from engine.base.records import Cause
from engine.skeletons.poses import PoseSequence
from engine.sources.dataset import open_dataset
from engine.sources.formats.poses import Reading
from engine.sources.pose_frames import PoseFrame, decode, parse
from engine.sources.source import open_source
from tests.support.pose_files import FORMS, Clip, clip

SIZE = (320, 240)


def read(path: Path, form: str) -> PoseSequence:
    reading = Reading() if FORMS[form].sized else Reading(SIZE)
    [sample] = open_dataset(str(path), reading=reading).samples
    poses = sample.read(51)
    assert not isinstance(poses, Cause), poses
    return poses


def frames(path: Path, form: str) -> list[Any]:
    reading = Reading() if FORMS[form].sized else Reading(SIZE)
    source = open_source(str(path), reading)
    return [
        message if isinstance(message, (SourceError, PoseFrame)) else parse(decode(message))  # type: ignore[arg-type]
        for message in source.messages(lambda: False)
    ]


def assert_like(found: Any, expected: Any, form: str) -> None:
    if FORMS[form].shares:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-3)
    else:
        np.testing.assert_array_equal(found, expected)


@st.composite
def clips(draw: st.DrawFn, people: int) -> Clip:
    """Frames with everybody in them."""
    return clip(draw(st.integers(1, 14)), draw(st.integers(1, people)), draw(st.integers(0, 999)))


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_what_is_written_comes_back(form: str, data: st.DataObject) -> None:
    about = FORMS[form]
    made = data.draw(clips(about.people))
    expected = np.array(made).swapaxes(0, 1)  # [persons, frames, 17, 3]
    with tempfile.TemporaryDirectory() as folder:
        path = about.write(Path(folder), made, SIZE)
        poses = read(path, form)
        heard = frames(path, form)
    assert_like(poses.keypoint, expected[..., :2], form)
    assert poses.img_shape == (240, 320)
    assert poses.keypoint_score is not None
    if about.scored:
        assert_like(poses.keypoint_score, expected[..., 2], form)
    said = path.suffix == ".jsonl" and not heard[-1].end  # messages are handed on as they are
    assert [frame.end for frame in heard] == [False] * (len(made) - 1) + [not said]
    for frame, people in zip(heard, made, strict=True):
        assert frame.size == SIZE
        assert_like(
            np.array([p.kpts for p in frame.people])[..., :2], np.array(people)[..., :2], form
        )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A clip in every form, to be damaged."""
    return {
        form: about.write(tmp_path_factory.mktemp("form"), clip(3, min(2, about.people)), SIZE)
        for form, about in FORMS.items()
    }


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_damage_is_refused(written: dict[str, Path], form: str, data: st.DataObject) -> None:
    """Bytes changed, cut or doubled anywhere: an error of ours, or poses, and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / written[form].name
        if written[form].is_dir():
            shutil.copytree(written[form], path)
            victim = data.draw(st.sampled_from(sorted(path.iterdir())))
        else:
            shutil.copy(written[form], path)
            victim = path
        content = bytearray(victim.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.integers(0, 40))
        content[at : at + length] = data.draw(
            st.sampled_from(
                [
                    b"",
                    b"null",
                    b"{}",
                    b"[]",
                    b'"x"',
                    b"-1",
                    b"1e999",
                    b"NaN",
                    b"true",
                    b"[[[[",
                    b"9" * 30,
                ]
            )
            | st.binary(max_size=8)
        )
        victim.write_bytes(bytes(content))
        reading = Reading(SIZE) if not FORMS[form].sized else Reading()
        with contextlib.suppress(EngineError):
            for sample in open_dataset(str(path), reading=reading).samples:
                sample.read(51)
        with contextlib.suppress(EngineError):
            for message in open_source(str(path), reading).messages(lambda: False):
                with contextlib.suppress(SourceError):
                    if not isinstance(message, (SourceError, PoseFrame)):
                        parse(decode(message))  # type: ignore[arg-type]


@pytest.mark.parametrize("form", [form for form, about in FORMS.items() if not about.sized])
def test_a_size_is_never_guessed(written: dict[str, Path], form: str) -> None:
    with pytest.raises(DatasetError, match="does not say how large the picture is; say it: --size"):
        open_dataset(str(written[form]))


@pytest.mark.parametrize("form", [form for form, about in FORMS.items() if about.sized])
def test_a_size_that_contradicts_is_refused(written: dict[str, Path], form: str) -> None:
    with pytest.raises(DatasetError, match="has 320x240 pixels; leave --size 640x480 out"):
        open_dataset(str(written[form]), reading=Reading((640, 480)))
