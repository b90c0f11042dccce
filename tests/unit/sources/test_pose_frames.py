"""Messages of live sources: what is taken, what is refused, and that nothing else happens."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.errors import SourceError
from engine.skeletons.joints import LAYOUTS
from engine.sources.pose_frames import PoseFrame, decode, parse, timed
from tests.support.samples import walking


def message(**fields: Any) -> dict[str, Any]:
    joints = [[float(n), 2.0 * n, 0.5] for n in range(17)]
    return {
        "v": 1,
        "stream": "s",
        "frame": 3,
        "t": 0.1,
        "size": [640, 480],
        "people": [{"id": 4, "kpts": joints}],
        **fields,
    }


def test_a_frame() -> None:
    for given_ in (message(), orjson.dumps(message()), memoryview(orjson.dumps(message()))):
        frame = parse(decode(given_))  # type: ignore[arg-type]
        assert (frame.stream, frame.frame, frame.t, frame.size) == ("s", 3, 0.1, (640, 480))
        [person] = frame.people
        assert person.id == 4
        np.testing.assert_array_equal(person.kpts[16], [16, 32, 0.5])
    assert (frame.rate, frame.end) == (None, False)
    last = parse(message(people=[], rate=25, end=True))
    assert (last.people, last.rate, last.end) == ((), 25, True)
    assert parse(message(people=[{"kpts": message()["people"][0]["kpts"]}])).people[0].id is None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str) -> None:
    """Numbered joints come out in COCO's places; a nose is a nose."""
    about = LAYOUTS[layout]
    kpts = np.array([[0.01 * n, 0.02 * n, 1] for n in range(about.joints)])
    kpts *= [1, 1, 1] if about.normalised else [640, 480, 1]
    [person] = parse(message(layout=layout, people=[{"kpts": kpts.tolist()}])).people
    there = [joint for joint, place in enumerate(about.coco) if place is not None]
    numbers = np.array([np.mean(about.coco[joint]) for joint in there])  # type: ignore[arg-type]
    expected = np.stack([0.01 * numbers * 640, 0.02 * numbers * 480], axis=1)
    np.testing.assert_allclose(person.kpts[there, :2], expected, rtol=1e-5)
    absent = [joint for joint in range(17) if joint not in there]
    assert not person.kpts[absent].any()
    assert absent in ([], [1, 2, 3, 4])  # eyes and ears
    assert len({about.coco[joint] for joint in there}) == len(there)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"v": 2}, "version 2"),
        ({"layout": "smpl"}, "known: coco17, mediapipe33"),
        ({"people": None}, "people is None; a list of at most 200 is needed"),
        ({"people": [{}] * 201}, "at most 200"),
        ({"people": [{}, 3]}, r"people\[0\].kpts is None; numbers .x, y, score. of each of 17"),
        ({"people": [3]}, r"people\[0\] is 3; an object with kpts is needed"),
        ({"people": [{"kpts": [[1, 2]] * 18}]}, r"shape \[18, 2\]; layout coco17 needs \[17, 3\]"),
        ({"people": [{"kpts": [1] * 52}]}, r"kpts has shape \[52\]; layout coco17 needs \[17, 3\]"),
        ({"people": [{"kpts": [[1, 2, 3]] * 25}]}, r"shape \[25, 3\]"),
        ({"people": [{"kpts": "abc"}]}, r"people\[0\].kpts is 'abc'; numbers .x, y, score."),
        ({"people": [{"kpts": [[1, 2], [3]]}]}, r"kpts is \[\[1, 2\], \[3\]\]; numbers"),
        ({"people": [{"kpts": [[1, 2, float("nan")]] * 17}]}, "no numbers, or far outside"),
        ({"people": [{"kpts": [[1e9, 2, 1]] * 17}]}, "no numbers, or far outside"),
        (
            {"people": [{"id": 1.5, "kpts": [[1, 2, 3]] * 17}]},
            r"people\[0\].id is 1.5; a whole number is needed",
        ),
        ({"people": [{"id": [], "kpts": [[1, 2, 3]] * 17}]}, r"id is \[\]; a whole number"),
        ({"size": [0, 480]}, "from 1 to 65536"),
        ({"size": 640}, "size is 640; .width, height."),
        ({"size": [640.5, 480]}, "size is 640.5; a whole number"),
        ({"frame": "x3"}, "frame is 'x3'; a whole number"),
        ({"frame": True}, "frame is True; a whole number"),
        ({"frame": 10**6000}, "frame is a int; a whole number"),
        ({"frame": None}, "frame is None; a whole number"),
        ({"t": "now"}, "t is 'now'; a number"),
        ({"t": float("inf")}, "t is inf; a number"),
        ({"t": 10**400}, "t is 10+…; a number"),
        ({"rate": 0}, "rate 0: above 0"),
        ({"rate": "30"}, "rate is '30'; a number"),
        ({"end": 1}, "end is 1; true or false"),
        ({"stream": "a" * 101}, "stream is 'a{59}…; text"),
        ({"stream": "a\n"}, "stream is .*; text"),
    ],
)
def test_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        parse(message(**fields))


def test_what_programs_hold() -> None:
    """Arrays, and numbers in them; the same frame as of plain ones."""
    joints = np.array(message()["people"][0]["kpts"])
    plain_ = parse(message())
    for kpts in (joints, joints.ravel(), joints.ravel().tolist(), list(joints.astype(np.float16))):
        [person] = parse(message(people=[{"id": np.int64(4), "kpts": kpts}])).people
        np.testing.assert_array_equal(person.kpts, plain_.people[0].kpts)
    for kpts in (joints[:, :2], joints[:, :2].ravel().tolist()):
        [person] = parse(message(people=[{"kpts": kpts}])).people
        np.testing.assert_array_equal(person.kpts[:, :2], joints[:, :2])
        assert person.kpts[:, 2].tolist() == [0] + [1] * 16, "the first is at (0, 0)"
    for who in (4.0, [4], [4.0], np.float32(4), np.array([4]), np.array(4), (np.int8(4),)):
        [person] = parse(message(people=[{"id": who, "kpts": joints}])).people
        assert (person.id, type(person.id)) == (4, int)
    for size in ((640.0, 480.0), np.array([640, 480]), [np.int32(640), [480]]):
        assert parse(message(size=size)).size == (640, 480)
    found = parse(message(frame=3.0, rate=np.float32(25), t=np.float64(0.1), end=np.bool_(True)))
    assert (found.frame, found.rate, found.t, found.end) == (3, 25.0, 0.1, True)


def test_a_frame_without_a_time() -> None:
    """Its number says it, at the stream's rate or at what the caller says."""
    for none in ({"t": None}, {"t": float("nan")}):
        assert timed(parse(message(**none)), 10).t == 0.3
        assert timed(parse(message(rate=30, **none)), 10).t == 0.1
    assert timed(parse(message()), 10).t == 0.1


def test_not_even_an_object() -> None:
    long = b" " * (2 << 20)
    for raw, said in ((b"{", "not JSON"), (b"[1]", "is an object"), (long, "of 2097152 bytes")):
        with pytest.raises(SourceError, match=said):
            decode(raw)


def people(*bodies: Any) -> list[dict[str, Any]]:
    return [{"kpts": body} for body in bodies]


def shares(score: float = 1.0) -> Any:
    """Two people, joints in shares of the picture: [2, 17, 3]."""
    found = walking(2, 1, 200)[:, 0] / [640, 480]
    return np.concatenate([found, np.full((2, 17, 1), score)], axis=-1)


def test_shares_of_the_picture() -> None:
    bodies = shares()
    bodies[0, 5:] = 0
    frame = parse(message(people=people(*bodies.tolist())))
    assert (frame.notes, frame.checked) == (("normalised",), True)
    for person, body in zip(frame.people, bodies, strict=True):
        np.testing.assert_allclose(person.kpts, body * [640, 480, 1], rtol=1e-6)
    kept = parse(message(people=people(*bodies.tolist())), "pixels")
    assert kept.notes == ()
    np.testing.assert_allclose(kept.people[1].kpts, bodies[1], rtol=1e-6)
    pixels = message(people=people(*(bodies * [640, 480, 1]).tolist()))
    assert parse(pixels).notes == ()
    with pytest.raises(SourceError, match=r"kpts has x from .* --coordinates normalised"):
        parse(pixels, "normalised")
    far = bodies.copy()
    far[1, 5, 0] = 9e5
    with pytest.raises(SourceError, match="far outside, as shares"):
        parse(message(people=people(*far.tolist())))
    # of one joint alone, too
    bodies[:, 1:] = 0
    [one, _] = parse(message(people=people(*bodies.tolist()))).people
    np.testing.assert_allclose(one.kpts[0, :2], bodies[0, 0, :2] * [640, 480], rtol=1e-6)


def test_what_a_layout_says_is_not_asked_again() -> None:
    kpts = [[0.5, 0.25, 1]] * 33
    frame = parse(message(layout="mediapipe33", people=people(kpts)), "normalised")
    assert frame.people[0].kpts[0].tolist() == [320, 120, 1]


def test_from_minus_one_to_one() -> None:
    bodies = shares() * [2, 2, 1] - [1, 1, 0]
    with pytest.raises(SourceError, match="kpts has x from .*keypoint_scale 4.*VideoPose3D"):
        parse(message(people=people(*bodies.tolist())))


def test_scores_in_percent_and_others() -> None:
    bodies = shares(80) * [640, 480, 1]
    frame = parse(message(people=people(*bodies.tolist())))
    assert frame.notes == ("percent",)
    assert frame.people[1].kpts[3, 2] == np.float32(0.8)
    bodies[0, 0, 2] = 6.5
    bodies[..., 2] = bodies[..., 2].clip(0, 6.5)
    with pytest.raises(SourceError, match="the score of kpts has 6.5 to 6.5; expected 0 to 1"):
        parse(message(people=people(*bodies.tolist())))


def test_nan_is_what_was_not_seen() -> None:
    bodies = shares() * [640, 480, 1]
    bodies[0, 3] = [float("nan"), float("nan"), 0]
    bodies[0, 4] = float("nan")
    bodies[1] = float("nan")
    text = json.dumps(message(people=people(*bodies.tolist())))
    assert "NaN" in text
    one, other = parse(decode(text.encode())).people
    assert not one.kpts[3:5].any()
    assert one.kpts[5].all()
    assert not other.kpts.any()
    text = text.replace("NaN", "Infinity")
    with pytest.raises(SourceError, match="no numbers"):
        parse(decode(text.encode()))
    with pytest.raises(SourceError, match="not JSON"):
        decode(b"[NaN, " * 100_000)


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
json_values = plain | st.lists(plain, max_size=4) | st.dictionaries(st.text(max_size=5), plain)


@given(st.dictionaries(st.sampled_from(list(message())), json_values))
def test_anything_is_a_frame_or_refused(fields: dict[str, Any]) -> None:
    with contextlib.suppress(SourceError):
        assert isinstance(parse({**message(), **fields}), PoseFrame)


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    with pytest.raises(SourceError):
        parse(decode(raw))


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([-1, -1], [None, None]),
        ([0, 0, 3], [None, None, 3]),
        (["", "a"], [None, "a"]),
        ([-1, 2], [None, 2]),
        ([1, "1"], [None, None]),
    ],
)
def test_ids_that_tell_nobody_apart(ids: list[Any], expected: list[Any]) -> None:
    kpts = [[100.0 + n, 100.0, 1] for n in range(17)]
    found = parse(message(people=[{"id": who, "kpts": kpts} for who in ids]))
    assert [person.id for person in found.people] == expected


def test_other_words_for_the_same() -> None:
    kpts = message()["people"][0]["kpts"]
    assert parse(message(fps=25)).rate == 25
    assert parse(message(fps=25, rate=30)).rate == 30
    for said, who in (("7", 7), (7, 7), ("07", "07"), ("a7", "a7"), ("-1", None), ("7.0", "7.0")):
        assert parse(message(people=[{"id": said, "kpts": kpts}])).people[0].id == who
    both = [{"id": "7", "kpts": kpts}, {"id": 7, "kpts": kpts}]
    assert [person.id for person in parse(message(people=both)).people] == [None, None]


def test_what_was_not_seen_is_nowhere() -> None:
    """So that no crop goes there: score 0, a mask, and the point that programs write."""
    kpts = np.array([[100.0 + n, 50.0 + n, 1] for n in range(17)])
    unseen, outside = kpts.copy(), kpts.copy()
    unseen[[7, 9]], outside[7] = [5, 230, 0], [-1, -1, 0.9]
    masked = np.ma.array(kpts, mask=np.isin(np.arange(17), [7, 9])[:, None].repeat(3, axis=1))
    for given_, joints in ((unseen, [7, 9]), (outside, [7]), (masked, [7, 9])):
        [person] = parse(message(people=[{"kpts": given_}])).people
        assert not person.kpts[joints, :2].any()
        assert person.kpts[np.setdiff1d(np.arange(17), joints)].all()
