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
from engine.sources.pose_frames import PoseFrame, decode, parse
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
    numbers = np.array(about.coco)
    expected = np.stack([0.01 * numbers * 640, 0.02 * numbers * 480], axis=1)
    np.testing.assert_allclose(person.kpts[:, :2], expected, rtol=1e-5)
    assert len(set(about.coco)) == 17
    assert about.coco[0] == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"v": 2}, "version 2"),
        ({"layout": "smpl"}, "known: coco17, mediapipe33"),
        ({"people": None}, "people: a list"),
        ({"people": [{}] * 201}, "at most 200"),
        ({"people": [3]}, "each one is an object"),
        ({"people": [{"kpts": [[1, 2]] * 17}]}, r"shape \[17, 2\]; layout coco17 needs \[17, 3\]"),
        ({"people": [{"kpts": [[1, 2, 3]] * 25}]}, r"shape \[25, 3\]"),
        ({"people": [{"kpts": "abc"}]}, "numbers .x, y, score."),
        ({"people": [{"kpts": [[1, 2, float("nan")]] * 17}]}, "no numbers, or far outside"),
        ({"people": [{"kpts": [[1e9, 2, 1]] * 17}]}, "no numbers, or far outside"),
        ({"people": [{"id": 1.5, "kpts": [[1, 2, 3]] * 17}]}, "id: a whole number"),
        ({"size": [0, 480]}, "from 1 to 65536"),
        ({"size": 640}, "size: .width, height."),
        ({"frame": "3"}, "frame: a whole number"),
        ({"frame": True}, "frame: a whole number"),
        ({"t": None}, "t: a number"),
        ({"rate": 0}, "rate 0: above 0"),
        ({"rate": "30"}, "rate: a number"),
        ({"end": 1}, "end: true or false"),
        ({"stream": "a" * 101}, "stream: text"),
        ({"stream": "a\n"}, "stream: text"),
    ],
)
def test_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        parse(message(**fields))


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
