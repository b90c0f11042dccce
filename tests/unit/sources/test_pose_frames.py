"""Messages of live sources: what is taken, what is refused, and that nothing else happens."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.errors import SourceError
from engine.skeletons.joints import LAYOUTS
from engine.sources.pose_frames import PoseFrame, decode, parse


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
    kpts = [[0.01 * n, 0.02 * n, 1] for n in range(about.joints)]
    [person] = parse(message(layout=layout, people=[{"kpts": kpts}])).people
    scale = (640, 480) if about.normalised else (1, 1)
    there = [joint for joint, place in enumerate(about.coco) if place is not None]
    numbers = np.array([np.mean(about.coco[joint]) for joint in there])  # type: ignore[arg-type]
    expected = np.stack([0.01 * numbers * scale[0], 0.02 * numbers * scale[1]], axis=1)
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
