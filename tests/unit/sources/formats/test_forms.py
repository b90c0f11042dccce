"""What is particular of a format: groups, order, ids, sizes, and what is refused with a reason."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.base.errors import DatasetError, SampleError, SourceError, UsageError
from engine.base.records import Cause
from engine.skeletons.joints import LAYOUTS
from engine.sources.dataset import Dataset, open_dataset
from engine.sources.formats.content import numbered
from engine.sources.formats.keypoints import identity, keypoints_of
from engine.sources.formats.poses import Reading, parse_size
from engine.sources.formats.recording import timeline
from engine.sources.source import open_source
from tests.support import pose_files
from tests.support.pose_files import FORMS, clip

SIZE = (320, 240)


def opened(path: Path, **says: Any) -> Dataset:
    return open_dataset(str(path), reading=Reading(**{"size": SIZE, **says}))


def refusal(path: Path, **says: Any) -> str:
    """Why the one video of a path cannot be scored."""
    [sample] = opened(path, **says).samples
    found = sample.read(51)
    assert isinstance(found, Cause)
    return str(found)


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("000000000012_keypoints", ("", 12)),
        ("clip_000000000012_keypoints", ("clip", 12)),
        ("cam01_000012", ("cam01", 12)),
        ("12", ("", 12)),
        ("frame12", ("frame", 12)),
        ("a.b-c_7_pose", ("a.b-c", 7)),
        ("v_3_keypoints_2d", ("v", 3)),
        ("dog", ("dog", None)),
        ("", ("", None)),
    ],
)
def test_the_video_and_the_frame_of_a_name(stem: str, expected: tuple[str, int | None]) -> None:
    assert numbered(stem) == expected


@given(st.lists(st.integers(0, 10**12), max_size=30).map(sorted))
def test_a_timeline_is_ascending_and_bounded(numbers: list[int]) -> None:
    moments = timeline(numbers)
    assert len(moments) == len(numbers)
    assert all(a < b for a, b in pairwise(moments))
    if moments:
        assert moments[-1] - moments[0] < max(10 * len(numbers), 1000)


def test_timelines() -> None:
    assert timeline([3, 4, 6]) == [3, 4, 6]  # a gap
    assert timeline([0, 5, 10]) == [0, 1, 2]  # every fifth
    assert timeline([139, 285, 581_929]) == [0, 1, 2]  # pictures
    assert timeline([7]) == [7]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3),
        (3.0, 3),
        ([0.0], 0),
        ([[4]], 4),
        ([-1], None),
        (-1, None),
        (None, None),
        (0.5, None),
        (float("nan"), None),
        ("anna", "anna"),
        ({}, None),
        (np.float32(2), 2),
        (np.array([5]), 5),
    ],
)
def test_ids(value: Any, expected: Any) -> None:
    assert identity(value) == expected


def test_joints_in_every_spelling() -> None:
    expected = np.array([[n + 1, n + 2, 0.5] for n in range(17)], np.float32)
    x, y, score = expected.T.tolist()
    spelt: list[Any] = [
        expected.ravel().tolist(),
        expected.tolist(),
        expected,
        [{"x": a, "y": b, "visibility": c} for a, b, c in expected.tolist()],
        [[a, b, 9.0, c] for a, b, c in expected.tolist()],
        {"x": x, "y": y, "visible": score},
    ]
    for value in spelt:
        np.testing.assert_array_equal(keypoints_of(value), expected)
    np.testing.assert_array_equal(keypoints_of(expected[:, :2], score), expected)
    full = keypoints_of(expected[:, :2].ravel().tolist())
    assert full is not None
    assert (full[:, 2] == 1).all()
    lacking = keypoints_of([[1.0, None, 0.3], [2.0, 3.0, 0.4]])
    assert lacking is not None
    assert not lacking[0].any()
    assert keypoints_of([]) is keypoints_of(None) is keypoints_of([[0, 0, 0]] * 17) is None
    for wrong in ([1, "a", 2], [[1, 2], [3]], [1e300, 2.0, 1.0], {"x": [1], "y": [1, 2]}, [[1]]):
        with pytest.raises(ValueError, match=r"joint|numbers|lists|length|beyond"):
            keypoints_of(wrong)


def test_a_folder_of_several_videos(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    for name, seed in (("a", 1), ("b", 2)):
        made = clip(3, seed=seed)
        for number, frame in enumerate(made):
            flat = pose_files.spread(frame[0], pose_files.LAYOUTS["body25"]).ravel().tolist()
            people = {"people": [{"pose_keypoints_2d": flat}]}
            write(tmp_path / f"one/{name}_{number:012d}_keypoints.json", people)
    data = opened(tmp_path / "one")
    assert [sample.id for sample in data.samples] == ["a", "b"]
    for sample, seed in zip(data.samples, (1, 2), strict=True):
        poses = sample.read(51)
        assert not isinstance(poses, Cause)
        expected = np.array(clip(3, seed=seed)).swapaxes(0, 1)
        np.testing.assert_array_equal(poses.keypoint, expected[..., :2])
    heard = list(open_source(f"openpose:{tmp_path}/one@320x240").messages(lambda: False))
    assert [m["stream"] for m in heard] == ["a"] * 3 + ["b"] * 3  # type: ignore[index]
    assert [m.get("end", False) for m in heard] == [False, False, True] * 2  # type: ignore[union-attr]


def test_a_folder_of_folders_and_files(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        pose_files.openpose("body25")(tmp_path / name, clip(2), SIZE)
    pose_files.mmpose(tmp_path, clip(2), SIZE)
    write(tmp_path / "other.json", {"hello": 1})
    (tmp_path / "broken.json").write_text("{")
    data = opened(tmp_path)
    assert [sample.id for sample in data.samples] == ["broken", "clip", "x", "y"]
    assert "1 files inside are of no known form" in data.source
    first = data.samples[0].read(51)
    assert isinstance(first, Cause)
    assert "not JSON" in first.message
    assert not any(isinstance(sample.read(51), Cause) for sample in data.samples[1:])


def test_natural_order(tmp_path: Path) -> None:
    made = clip(12)
    path = pose_files.openpose("body25", "{number}_keypoints.json")(tmp_path, made, SIZE)
    [sample] = opened(path).samples
    poses = sample.read(51)
    assert not isinstance(poses, Cause)
    np.testing.assert_array_equal(poses.keypoint[0], np.array(made)[:, 0, :, :2])


def test_rows_are_persons_where_all_have_ids(tmp_path: Path) -> None:
    made = clip(4, 2)
    made[1].reverse()  # the tracker's order, not the detector's
    entries = [
        {
            "image_id": f"{n}.jpg",
            "keypoints": one.ravel().tolist(),
            "idx": [float(7 * (p ^ (n == 1)))],
        }
        for n, frame in enumerate(made)
        for p, one in enumerate(frame)
    ]
    [sample] = opened(write(tmp_path / "tracked.json", entries)).samples
    assert sample.annotation["tracks"] is True
    made[1].reverse()
    np.testing.assert_array_equal(
        sample.annotation["keypoint"], np.array(made).swapaxes(0, 1)[..., :2]
    )
    del entries[0]["idx"]
    [sample] = opened(write(tmp_path / "untracked.json", entries)).samples
    assert sample.annotation["tracks"] is False


def test_a_frame_that_is_broken(tmp_path: Path) -> None:
    path = pose_files.openpose("body25")(tmp_path, clip(4), SIZE)
    victim = path / "clip_000000000002_keypoints.json"
    write(victim, {"people": [{"pose_keypoints_2d": [1.0] * 30}]})
    assert "10 joints, which no layout has: 17 (coco17)" in refusal(path)
    heard = list(open_source(f"poses:{path}", Reading(SIZE)).messages(lambda: False))
    assert [isinstance(m, SourceError) for m in heard] == [False, False, True, False]
    victim.write_text("[")
    assert f"{victim}: not JSON" in refusal(path)
    write(victim, {"people": [{"face_keypoints_2d": []}]})
    assert "a person without pose_keypoints_2d" in refusal(path)


def test_pictures_of_several_sizes_are_no_video(tmp_path: Path) -> None:
    path = pose_files.coco_annotations(tmp_path, clip(3), SIZE)
    whole = json.loads(path.read_text())
    whole["images"][1]["width"] = 500
    assert "these are no frames of one video" in refusal(write(path, whole), size=None)


def test_joints_that_are_said(tmp_path: Path) -> None:
    path = tmp_path / "h36m.npy"
    points = np.array([pose_files.spread(clip(1)[0][0], LAYOUTS["h36m17"])[:, :2]] * 3)
    np.save(path, points)
    [sample] = opened(path, joints=LAYOUTS["h36m17"]).samples
    found = sample.annotation["keypoint"][0, 0]
    expected = clip(1)[0][0][:, :2]
    np.testing.assert_array_equal(found[5:], expected[5:])
    np.testing.assert_array_equal(found[0], expected[0])
    assert not found[1:5].any()
    assert not sample.annotation["keypoint_score"][0, 0, 1:5].any()
    assert "17 joints; layout body25 has 25" in refusal(path, joints=LAYOUTS["body25"])
    with pytest.raises(UsageError, match="--joints ntu: choose from coco17, "):
        Reading.of(None, "ntu")


def test_the_nose_of_mpii(tmp_path: Path) -> None:
    points = np.full((1, 16, 3), 0.5, np.float32)
    points[0, :, 0] = np.arange(16) + 1
    np.save(tmp_path / "mpii.npy", points)
    [sample] = opened(tmp_path / "mpii.npy", joints=LAYOUTS["mpii16"]).samples
    assert sample.annotation["keypoint"][0, 0, :, 0].tolist() == [
        *(9.5, 0, 0, 0, 0, 14, 13, 15, 12, 16, 11, 4, 3, 5, 2, 6, 1)
    ]


@pytest.mark.parametrize("order", ["mpii16", "h36m16"])
def test_sixteen_joints_are_told_apart(tmp_path: Path, order: str) -> None:
    """By the pelvis, which is between the hips; where that is not clear, by the user."""
    body, layout = clip(1)[0][0], LAYOUTS[order]
    points = pose_files.spread(body, layout)
    assert layout.pelvis is not None
    pelvis, *hips = layout.pelvis
    points[pelvis] = points[hips].mean(axis=0)
    np.save(path := tmp_path / "sixteen.npy", np.array([points] * 4))
    [sample] = opened(path).samples
    np.testing.assert_array_equal(sample.annotation["keypoint"][0, 0, 5:], body[5:, :2])
    np.save(path, np.array([np.full_like(points, 0.5)] * 4))
    [sample] = opened(path).samples
    with pytest.raises(SampleError, match="say --joints mpii16, or h36m16"):
        sample.annotation["keypoint"]


CHANNELS = np.ones((3, 30, 18, 2))
CHANNELS[:2] *= 99  # x and y; the third are scores


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("ntu.npy", np.linspace(-1, 3, 4 * 25 * 3).reshape(4, 25, 3), "coordinates in 3-D"),
        ("stgcn.npy", np.zeros((1, 3, 30, 18, 2)), r"that is array.transpose\(3, 1, 2, 0\)"),
        ("channels.npy", CHANNELS, r"that is array.transpose\(3, 1, 2, 0\)"),
        ("few.npy", np.zeros((10, 12, 2)), "number of joints that is known"),
        ("hands.json", {"landmarks": [{"x": 0, "y": 0}] * 21}, "21 landmarks"),
        ("depth.json", [{"frame_id": 0, "instances": [{"keypoints": [[1, 2, 3]] * 17}]}], "3-D"),
        ("S001.skeleton", "103\n1\n", "joints in 3-D, which cannot be mapped"),
        ("size.json", [{"image_id": {}, "keypoints": []}], "is no name"),
    ],
)
def test_what_is_refused_says_why(tmp_path: Path, name: str, value: Any, why: str) -> None:
    path = tmp_path / name
    if isinstance(value, np.ndarray):
        np.save(path, value)
    else:
        path.write_text(value if isinstance(value, str) else json.dumps(value))
    try:
        said = refusal(path)
    except DatasetError as error:
        said = str(error)
    assert re.search(why, said)
    assert str(path) in said


def test_objects_in_archives_are_plain_data(tmp_path: Path, monkeypatch: Any) -> None:
    import os

    class Attack:
        def __reduce__(self) -> Any:
            return os.system, ("touch pwned",)

    monkeypatch.chdir(tmp_path)
    frames = np.empty(1, object)
    frames[0] = Attack()
    np.savez(tmp_path / "clip.mp4.npz", boxes=frames, keypoints=frames, metadata=frames)
    with pytest.raises(DatasetError, match="which no annotation file needs"):
        opened(tmp_path / "clip.mp4.npz")
    assert not (tmp_path / "pwned").exists()


def test_sizes() -> None:
    assert parse_size("640x480") == parse_size("640X480") == (640, 480)
    for wrong in ("640", "0x480", "640x480x3", "-1x2", "99999x1", "axb", "\u0664x4"):
        with pytest.raises(UsageError, match="WIDTHxHEIGHT"):
            parse_size(wrong)


def test_the_identity_has_files_and_flags(tmp_path: Path) -> None:
    path = FORMS["openpose, body25"].write(tmp_path, clip(3), SIZE)
    first = opened(path).identity()
    assert opened(path).identity() == first
    assert opened(path, size=(640, 480)).identity() != first
    victim = sorted(path.iterdir())[1]
    victim.write_text(victim.read_text().replace("1.3", "1.2"))
    assert opened(path).identity() != first


def test_annotations_say_their_size_themselves(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"frame_dir": "a", "keypoint": []}\n')
    with pytest.raises(DatasetError, match="leave --size out"):
        opened(path)


def test_pictures_are_no_video(tmp_path: Path) -> None:
    entries = [
        {"image_id": number, "keypoints": clip(1)[0][0].ravel().tolist()}
        for number in (139, 285, 581_929)
    ]
    said = refusal(write(tmp_path / "results.json", entries))
    assert "image_id 139, 285, … 581929 are numbers of pictures" in said


@pytest.mark.parametrize("width", [3, 4])
def test_depth_is_no_score(tmp_path: Path, width: int) -> None:
    points = np.full((5, 33, width), -0.2, np.float32)
    points[..., :2] = 0.5
    points[..., 3:] = 0.75
    np.save(tmp_path / "mediapipe.npy", points)
    [sample] = opened(tmp_path / "mediapipe.npy").samples
    assert (sample.annotation["keypoint_score"] == (1 if width == 3 else 0.75)).all()
    assert (sample.annotation["keypoint"] == 0.5).all()


@pytest.mark.parametrize(
    "form", ["list", "under a name", "by name", "by number", "protocol buffer"]
)
def test_forms_of_landmarks(tmp_path: Path, form: str) -> None:
    from engine.skeletons.joints import COCO_NAMES, LAYOUTS

    person = clip(1)[0][0]
    full = pose_files.spread(person, LAYOUTS["mediapipe33"]) / [*SIZE, 1]
    listed = [{"x": float(x), "y": float(y), "z": 0.0, "visibility": float(v)} for x, y, v in full]
    named = {
        name.upper(): {"x": float(x), "y": float(y), "visibility": float(v)}
        for name, (x, y, v) in zip(COCO_NAMES, person / [*SIZE, 1], strict=True)
    }
    spelt: Any = {
        "list": [listed, [], listed],
        "under a name": {
            "fps": 25,
            "frames": [{"frame": n, "poseLandmarks": listed} for n in (0, 2, 3)],
        },
        "by name": [{"landmarks": named}, {"landmarks": None}, {"landmarks": named}],
        "by number": {"0": listed, "2": listed, "3": listed},
        "protocol buffer": [{"pose_landmarks": {"landmark": listed}}, {"pose_landmarks": None}] * 2,
    }[form]
    [sample] = opened(write(tmp_path / "clip.json", spelt)).samples
    found = sample.annotation["keypoint"]
    assert found.shape[:2] == (1, 3 if form in ("list", "by name") else 4)
    np.testing.assert_allclose(found[0, 0], person[:, :2], rtol=1e-5, atol=1e-3)
    assert not found[0, 1].any()


def test_landmarks_in_metres_are_refused(tmp_path: Path) -> None:
    listed = [{"x": 0.3 * (-1) ** n, "y": 0.5, "z": 0.0, "visibility": 1.0} for n in range(33)]
    for hip in (23, 24):
        listed[hip] |= {"x": 0.1 * (-1) ** hip, "y": 0.0}
    with pytest.raises(DatasetError, match="in metres around the hips"):
        opened(write(tmp_path / "world.json", [listed] * 3))


def test_names_of_joints() -> None:
    from engine.skeletons.joints import COCO_NAMES, LAYOUTS, by_names

    assert by_names(COCO_NAMES) == LAYOUTS["coco17"]
    crowd = by_names(["top_head", "neck", *COCO_NAMES[5:]])
    assert crowd.coco == ((1, 0), None, None, None, None, *range(2, 14))
    human36m = by_names([name.replace("ankle", "foot") for name in COCO_NAMES])
    assert human36m.coco == LAYOUTS["coco17"].coco
    with pytest.raises(ValueError, match="left_shoulder is not among them"):
        by_names(["L_eye", "R_eye", "nose"])


def of_one(path: Path) -> Any:
    """The annotation of the one video of a path."""
    [sample] = opened(path).samples
    return sample.annotation


POINTS = np.linspace(20, 200, 5 * 17 * 2, dtype=np.float32).reshape(5, 17, 2)
SCORES = np.linspace(0.5, 1, 5 * 17, dtype=np.float32).reshape(5, 17)


def test_scores_beside_keypoints_without_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", POINTS, SCORES)
    found = of_one(tmp_path / "a.npz")
    np.testing.assert_array_equal(found["keypoint"][0], POINTS)
    np.testing.assert_array_equal(found["keypoint_score"][0], SCORES)


@pytest.mark.parametrize(
    "arrays",
    [
        {"keypoint": POINTS, "keypoint_scroe": SCORES},
        {"keypoint": POINTS, "second": POINTS[:3]},
        {"arr_0": POINTS, "arr_1": SCORES, "arr_3": SCORES},
        {"arr_0": POINTS, "arr_1": SCORES, "arr_2": POINTS},
    ],
)
def test_arrays_that_would_not_be_read(tmp_path: Path, arrays: dict[str, Any]) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DatasetError, match=r"a\.npz: array '(keypoint_scroe|second|arr_\d)' of"):
        opened(tmp_path / "a.npz")
    harmless = {"label": np.array([3]), "fps": np.array(25.0), "boxes": np.ones((5, 4))}
    np.savez(tmp_path / "b.npz", keypoint=POINTS, keypoint_score=SCORES, **harmless)
    assert of_one(tmp_path / "b.npz")["total_frames"] == 5


def test_a_third_number_that_may_be_either(tmp_path: Path) -> None:
    points = np.full((5, 33, 3), 0.5, np.float32)
    np.save(tmp_path / "a.npy", points)
    with pytest.raises(DatasetError, match="may be depths or visibilities"):
        opened(tmp_path / "a.npy")
    points[..., 2] += np.linspace(0, 1, 33)
    np.save(tmp_path / "a.npy", points)
    assert set(np.unique(of_one(tmp_path / "a.npy")["keypoint_score"])) <= {0, 1}


def test_lists_of_numbers_and_lines_of_lists(tmp_path: Path) -> None:
    found = of_one(write(tmp_path / "a.json", POINTS.tolist()))
    np.testing.assert_array_equal(found["keypoint"][0], POINTS)
    with (tmp_path / "b.jsonl").open("w") as lines:
        for frame in POINTS:
            x, y = frame.T.tolist()
            lines.write(json.dumps([{"name": "person", "keypoints": {"x": x, "y": y}}]) + "\n")
    np.testing.assert_allclose(of_one(tmp_path / "b.jsonl")["keypoint"][0], POINTS)
    (tmp_path / "c.jsonl").write_text("[[[1, 2], [3]]]\n[1\n")
    with pytest.raises(DatasetError, match=r"c\.jsonl: not JSON"):
        opened(tmp_path / "c.jsonl")


def test_times_for_numbers() -> None:
    milliseconds = [round(n * 1000 / 30) for n in range(28)]
    assert timeline(milliseconds) == list(range(28))
    rng = np.random.default_rng(0)
    jittered = [5 * n + int(rng.integers(0, 2)) for n in range(64)]
    assert timeline(jittered) == list(range(64))
    assert timeline([3, 4, 9, 11]) == [3, 4, 9, 11]  # frames in which somebody was found


def test_a_cameras_number_behind_the_frames(tmp_path: Path) -> None:
    form = FORMS["openpose, body25"]
    path = form.write(tmp_path, clip(12), SIZE)
    for number, file in enumerate(sorted(path.iterdir())):
        file.rename(path / f"frame_{number}_cam2_keypoints.json")
    assert of_one(path)["total_frames"] == 12


def test_animals_among_people(tmp_path: Path) -> None:
    joints = clip(1)[0][0].ravel().tolist()
    entries = [{"image_id": n, "category_id": 1, "keypoints": joints} for n in range(8)]
    assert of_one(write(tmp_path / "people.json", entries))["total_frames"] == 8
    entries[3]["category_id"] = 18
    with pytest.raises(DatasetError, match=r"several categories, \[1, 18\]; keep those of people"):
        opened(write(tmp_path / "both.json", entries))


def test_videos_whose_pictures_have_the_same_ids(tmp_path: Path) -> None:
    joints = clip(1)[0][0].ravel().tolist()
    entries = [
        {"image_id": n, "video_id": v, "keypoints": joints} for v in (3, 7) for n in range(8)
    ]
    found = opened(write(tmp_path / "two.json", entries))
    assert [sample.annotation["total_frames"] for sample in found.samples] == [8, 8]


def test_depths_beside_scores(tmp_path: Path) -> None:
    """Of x, y and z the third is no score; of x, y and score it may stand apart once more."""
    np.savez(tmp_path / "z.npz", keypoints=np.dstack([POINTS, SCORES / 50]), scores=SCORES)
    with pytest.raises(DatasetError, match="which their third numbers are not: are those depths"):
        opened(tmp_path / "z.npz")
    np.savez(tmp_path / "s.npz", keypoints=np.dstack([POINTS, SCORES]), scores=SCORES)
    np.testing.assert_array_equal(of_one(tmp_path / "s.npz")["keypoint_score"][0], SCORES)


def test_absent_joints_with_scores_of_minus_one(tmp_path: Path) -> None:
    points = np.dstack([POINTS, SCORES])
    points[:, 4] = -1
    np.save(tmp_path / "absent.npy", points)
    found = of_one(tmp_path / "absent.npy")
    assert not found["keypoint"][0, :, 4].any()
    np.testing.assert_array_equal(found["keypoint"][0, :, 5:], POINTS[:, 5:])
