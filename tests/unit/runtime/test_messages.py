"""Messages between processes: what a record writes it reads, and nothing else is taken for one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.choices import WIRES, Wire
from engine.base.constants import CLIP_SHAPE, REFERENCES
from engine.base.errors import WireError
from engine.base.recipe import HMDB51_RECIPE, Recipe
from engine.base.records import Cause, Facts
from engine.runtime.transport import clip_messages, wire
from engine.runtime.transport import messages as m
from engine.runtime.transport.bodies import Body
from engine.runtime.transport.clip_messages import clips_nbytes, most_nbytes, of_clips
from engine.runtime.transport.messages import WorkerSettings
from engine.runtime.transport.wire import Message
from engine.runtime.worker import clips_of
from engine.skeletons.clips import ClipTensor, HeatmapClips, JointClips
from engine.skeletons.clips import decode as drawn_clips
from engine.skeletons.heatmaps import place
from engine.skeletons.poses import PoseSequence
from engine.skeletons.sampling import clip_plan

count = st.integers(0, 2**53)
text = st.text(max_size=30)
seconds = st.floats(0, 1e6)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=6,
)
limbs = Recipe(joints=25, size=64, limbs=((0, 1), (1, 24)), sampler="pyskl", flip=None)
recipes = [HMDB51_RECIPE.drawn_as(reference) for reference in REFERENCES]
recipes += [recipe.one_view for recipe in recipes]
recipes += [limbs, replace(limbs, fit="stretch", flip="mirror", twins=(1, 0), most=10)]
settings = st.builds(WorkerSettings, st.sampled_from(recipes), st.sampled_from(WIRES))
BODIES: dict[type[Body], st.SearchStrategy[Any]] = {
    m.Join: st.builds(m.Join, text, text, count),
    m.WorkerReady: st.builds(m.WorkerReady, count, text),
    m.ExecutorReady: st.builds(m.ExecutorReady, st.builds(Facts, text, text, text, count), count),
    m.Decoding: st.builds(m.Decoding, count),
    m.Sent: st.builds(m.Sent, count, seconds, count),
    m.Queued: st.builds(m.Queued, count),
    m.Running: st.builds(m.Running, st.lists(count, max_size=5).map(tuple)),
    m.Failed: st.builds(m.Failed, count, st.builds(Cause, text, text, text)),
    m.Dropped: st.builds(m.Dropped, text),
    m.Log: st.builds(m.Log, count, text),
    m.Fatal: st.builds(m.Fatal, text),
    m.Alive: st.just(m.Alive()),
    m.Leave: st.just(m.Leave()),
    m.Welcome: st.builds(m.Welcome, text, settings),
    m.Refused: st.builds(m.Refused, text),
    m.ExecutorAddress: st.builds(m.ExecutorAddress, text, text, text, st.none() | count),
    m.Hurry: st.builds(m.Hurry),
    m.Stop: st.builds(m.Stop, text),
}
READERS: dict[Callable[[Message], Any], Any] = {
    m.from_child: m.FromChild,
    m.from_guest: m.FromGuest,
    m.to_child: m.ToChild,
    m.to_guest: m.ToGuest,
}


def carried(body: Body) -> Message:
    """The message of a record, as it comes out of a socket."""
    return wire.decode([bytes(frame) for frame in wire.encode(body.write())])


@given(st.sampled_from(list(BODIES)), st.data())
def test_what_is_written_is_read(kind: type[Body], data: Any) -> None:
    """By those who may hear it from this side, and by nobody else."""
    body = data.draw(BODIES[kind])
    message = carried(body)
    assert kind.read(message) == body
    for read, union in READERS.items():
        if kind in get_args(union):
            assert read(message) == body
        else:
            with pytest.raises(WireError, match="a message of kind"):
                read(message)


def test_every_kind_is_tried() -> None:
    kinds = {kind for union in READERS.values() for kind in get_args(union)}
    assert kinds == set(BODIES) | {m.Result, m.Grant}
    assert len({kind.kind for kind in kinds}) == len(kinds)


@given(st.sampled_from(list(BODIES)), st.data(), json)
def test_a_field_of_another_type(kind: type[Body], data: Any, odd: Any) -> None:
    """Is refused, unless it happens to be one of that type; so is one that is missing."""
    message = carried(data.draw(BODIES[kind]))
    names = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    if not names:
        return
    name = data.draw(st.sampled_from(names))
    try:
        found = kind.read(Message(message.kind, {**message.fields, name: odd}))
    except WireError:
        found = None
    assert found is None or carried(found).fields[name] == odd
    without = {key: value for key, value in message.fields.items() if key != name}
    with pytest.raises(WireError):
        kind.read(Message(message.kind, without))


def drawn_by(**values: Any) -> dict[str, Any]:
    """A recipe's fields on the wire."""
    return {**HMDB51_RECIPE.to_json(), **values}


def told(**values: Any) -> dict[str, Any]:
    """The fields of a welcome."""
    return {"name": "n", "settings": {"recipe": drawn_by(), "wire": "clips", **values}}


def test_a_welcome_is_read() -> None:
    expected = m.Welcome("n", WorkerSettings(HMDB51_RECIPE, "clips"))
    assert m.Welcome.read(Message("welcome", told())) == expected


@pytest.mark.parametrize(
    ("kind", "given_"),
    [
        (m.Decoding, {"lease": True}),
        (m.Decoding, {"lease": -1}),
        (m.Decoding, {"lease": 1.0}),
        (m.Decoding, {"lease": "1"}),
        (m.Decoding, {"lease": [1]}),
        (m.Decoding, {"lease": {}}),
        (m.Decoding, {"lease": 1, "more": 1}),
        (m.Sent, {"lease": 1, "busy": 1, "nbytes": 1}),
        (m.Sent, {"lease": 1, "busy": -0.1, "nbytes": 1}),
        (m.Running, {"leases": 5}),
        (m.Running, {"leases": [[1]]}),
        (m.Running, {"leases": [None]}),
        (m.Failed, {"lease": 1, "cause": "x"}),
        (m.Failed, {"lease": 1, "cause": {"stage": "s", "type": "t"}}),
        (m.Failed, {"lease": 1, "cause": {"stage": "s", "type": "t", "message": 1}}),
        (m.Welcome, told(recipe=[])),
        (m.Welcome, told(recipe={})),
        (m.Welcome, told(recipe="1.x")),
        (m.Welcome, told(wire="x")),
        (m.Welcome, told(wire=[])),
        (m.Welcome, told(more=1)),
        (m.Welcome, told(recipe=drawn_by(clips=1.0))),
        (m.Welcome, told(recipe=drawn_by(clips=True))),
        (m.Welcome, told(recipe=drawn_by(size=1 << 20))),
        (m.Welcome, told(recipe=drawn_by(sigma="0.6"))),
        (m.Welcome, told(recipe=drawn_by(flip=[]))),
        (m.Welcome, told(recipe=drawn_by(flip="turn"))),
        (m.Welcome, told(recipe=drawn_by(limbs=[[0, 17]]))),
        (m.Welcome, told(recipe=drawn_by(limbs=[[0]]))),
        (m.Welcome, told(recipe=drawn_by(twins=[0]))),
        (m.Welcome, told(recipe=drawn_by(more=1))),
    ],
)
def test_refused(kind: type[Body], given_: dict[str, Any]) -> None:
    with pytest.raises(WireError, match=kind.kind):
        kind.read(Message(kind.kind, given_))


def test_arrays_that_do_not_belong() -> None:
    with pytest.raises(WireError, match="decoding with 1 arrays"):
        m.Decoding.read(Message("decoding", {"lease": 1}, (np.zeros(3),)))


def test_a_guest_of_another_version_is_answered() -> None:
    """Whatever else it says."""
    found = m.from_guest(Message("join", {"version": "9", "host": "h", "pid": 1, "cores": [4]}))
    assert found == m.Join("9", "h", 1)


@pytest.mark.parametrize(
    "arrays",
    [(), (np.zeros((2, 3)),), (np.zeros(3, "f4"),), (np.zeros((1, 1, 1), "f4"),)],
    ids=["none", "float64", "one axis", "three axes"],
)
def test_a_result_has_one_array_of_logits(arrays: Any) -> None:
    with pytest.raises(WireError):
        m.Result.read(Message("result", {"lease": 1, "busy": 0.0, "padded": 0}, arrays))


def test_a_result_is_not_copied() -> None:
    logits = np.zeros((20, 51), np.float32)
    message = m.Result(1, 0.5, 0, logits).write()
    assert message.arrays[0] is logits
    found = m.Result.read(message)
    assert found.logits is logits
    assert (found.lease, found.busy, found.padded) == (1, 0.5, 0)


@given(
    st.sampled_from(["f2", "f4", ">f4", "f8", ">i2", "i8", "u1"]),
    st.booleans(),
    st.none() | st.tuples(*[st.integers(-(2**40), 2**40)] * 4),
)
def test_a_grant_carries_poses(code: str, scored: bool, crop: Any) -> None:
    keypoint = np.arange(2 * 5 * 17 * 2).reshape(2, 5, 17, 2).astype(code)
    scores = np.ones((2, 5, 17), np.float32) if scored else None
    sent = PoseSequence(keypoint, scores, (240, 320), 5, crop, crop)
    grant = m.Grant.read(carried(m.Grant.of(3, "s", "executor-0.1", sent)))
    assert (grant.lease, grant.seal, grant.executor) == (3, "s", "executor-0.1")
    found = grant.poses()
    np.testing.assert_array_equal(found.keypoint, keypoint)
    assert (found.keypoint_score is None) == (scores is None)
    assert (found.img_shape, found.total_frames) == ((240, 320), 5)
    assert (found.crop, found.track) == (crop, crop)


@pytest.mark.parametrize("crop", [[3], [3, 4, 5, 6, 7], [1, 2, 3, True], [1, 2, 3, 4.0], "1234"])
def test_a_grant_whose_poses_are_odd(crop: Any, make_annotation: Any) -> None:
    """Can be read, so that it becomes that sample's failure."""
    poses = PoseSequence.from_annotation(make_annotation(5))
    message = m.Grant.of(1, "s", "e", poses).write()
    about = {**message.fields["about"], "crop": crop}
    grant = m.to_child(Message("grant", {**message.fields, "about": about}, message.arrays))
    assert isinstance(grant, m.Grant)
    with pytest.raises(WireError, match="whole numbers"):
        grant.poses()
    far = m.Grant.of(1, "s", "e", PoseSequence(poses.keypoint, None, (9, 9), 5, (2**53, 0, 0, 0)))
    with pytest.raises(WireError, match="beyond what arrays of numbers hold"):
        m.Grant.read(carried(far)).poses()


# Clips


@pytest.mark.parametrize("kind", WIRES)
@pytest.mark.parametrize("views", [1, 20])
def test_clips_are_carried(kind: Wire, views: int, make_annotation: Any) -> None:
    poses = PoseSequence.from_annotation(make_annotation(9))
    all_of_them = HMDB51_RECIPE.drawn_as("1.x")
    if kind == "clips" and views == all_of_them.views:
        return  # 205 MB; one clip shows the same
    recipe, other = all_of_them, all_of_them.one_view
    if views == 1:
        recipe, other = other, recipe
    assert recipe.views == views
    sent = clips_of(poses, WorkerSettings(recipe, kind))
    message = of_clips(5, "seal", sent).write()
    read = clip_messages.read(wire.decode(list(map(bytes, wire.encode(message)))))
    assert (read.lease, read.seal) == (5, "seal")
    found = read.clips(recipe)
    assert type(found) is type(sent)
    if isinstance(sent, ClipTensor):
        assert isinstance(found, ClipTensor)
        np.testing.assert_array_equal(found.clips, sent.clips)
        return
    assert isinstance(found, HeatmapClips | JointClips)
    np.testing.assert_array_equal(found.plan, sent.plan)
    assert (found.twins, found.track) == (sent.twins, sent.track)
    if isinstance(sent, JointClips):
        assert isinstance(found, JointClips)
        assert found.recipe == sent.recipe == recipe
        np.testing.assert_array_equal(found.joints.centres, sent.joints.centres)
    with pytest.raises(WireError):
        read.clips(other)  # of another number of clips


@given(st.data())
def test_clips_that_are_changed(data: Any) -> None:
    """Are refused, or can be used."""
    poses = PoseSequence(np.ones((1, 6, 17, 2), np.float32) * 50, None, (100, 100), 6)
    kind = data.draw(st.sampled_from(["frames", "keypoints"]))
    message = of_clips(5, "seal", clips_of(poses, WorkerSettings(HMDB51_RECIPE, kind))).write()
    arrays = list(message.arrays)
    place_ = data.draw(st.integers(0, len(arrays) - 1))
    how = data.draw(st.sampled_from(["value", "shape", "type", "gone", "field"]))
    changed = arrays[place_].copy()
    if how == "value" and changed.size:
        changed.flat[data.draw(st.integers(0, changed.size - 1))] = data.draw(st.integers(0, 2**15))
    elif how == "shape":
        changed = changed[:-1]
    elif how == "type":
        changed = changed.astype(data.draw(st.sampled_from(["i1", "f8", "u8"])))
    arrays[place_] = changed
    about = dict(message.fields)
    if how == "field":
        about[data.draw(st.sampled_from(list(about)))] = data.draw(json)
    kept = tuple(arrays[:-1] if how == "gone" else arrays)
    try:
        found = clip_messages.read(Message(message.kind, about, kept)).clips(HMDB51_RECIPE)
    except WireError:
        return
    drawn = found.drawn() if isinstance(found, JointClips) else found
    assert isinstance(drawn, HeatmapClips)
    drawn.write(0, np.empty((1, *CLIP_SHAPE), np.float32))


def test_a_seal_is_good_for_one_lease() -> None:
    seals = {clip_messages.seal(secret, n) for secret in (b"a", b"b") for n in range(9)}
    assert len(seals) == 18


def test_bytes_of_a_sample() -> None:
    cells = HMDB51_RECIPE.cells
    assert most_nbytes(HMDB51_RECIPE) == 204_718_080
    assert most_nbytes(HMDB51_RECIPE.one_view) == 204_718_080 // 20
    assert clips_nbytes("clips", 20, 1, HMDB51_RECIPE) == 204_718_080
    assert clips_nbytes("clips", 20, 1, HMDB51_RECIPE.one_view) == 204_718_080 // 20
    # A plan of 480 distinct frames is the longest; each array of it fits the same limit.
    assert 20 * int(np.prod(CLIP_SHAPE)) * 4 == 2 * 480 * cells * 4
    found = clips_nbytes("frames", 480, 10**6, HMDB51_RECIPE)
    assert found == 2 * 480 * (cells * 6 + 4) + 4 + 1920


@pytest.mark.parametrize("kind", ["frames", "keypoints"])
@pytest.mark.parametrize("persons", [0, 1, 5])
def test_no_sample_weighs_more_than_said(kind: Any, persons: int, make_annotation: Any) -> None:
    poses = PoseSequence.from_annotation(make_annotation(60, persons=persons))
    clips = drawn_clips(poses, HMDB51_RECIPE)
    frames = clips.frames
    found = sum(a.nbytes for a in (frames.starts, frames.cells, frames.values, clips.plan))
    if kind == "keypoints":
        joints = place(poses, clip_plan(60, HMDB51_RECIPE), HMDB51_RECIPE)
        found += joints.centres.nbytes + joints.peaks.nbytes
    said = clips_nbytes(kind, clips.unique, persons, HMDB51_RECIPE)
    assert said / 2 < found <= said
