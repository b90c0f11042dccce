"""The page about a run: complete, alone in one file, safe, and alive in a real browser."""

from __future__ import annotations

import base64
import json
import pickle
import re
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.run import main
from tests.browser.shown import count, looks_well, no_complaints, text, until
from tests.support.samples import annotation

HOSTILE = "</script><img src=x onerror=alert(1)>"


def write(tmp_path: Path, model: Path, *annotations: Any, code: int = 0, clips: str = "all") -> str:
    """The page of a run over these annotations."""
    data, page = tmp_path / "data.pkl", tmp_path / "report.html"
    data.write_bytes(pickle.dumps(list(annotations)))
    flags = ["--dataset", str(data), "--model", str(model), "--clips", clips]
    assert main([*flags, "--report", str(page)]) == code
    return page.read_text()


def embedded(page: str) -> Any:
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text)


def test_numbers(tmp_path: Path, tiny_model: Path, capfd: Any) -> None:
    samples = [annotation(20 + i, persons=1 + i % 3, seed=i) for i in range(12)]
    broken = annotation(20, seed=99, frame_dir=HOSTILE, img_shape=(0, 0))
    page = write(tmp_path, tiny_model, *samples, broken, code=3)
    capfd.readouterr()
    data = embedded(page)
    summary = data["summary"]
    assert (summary["ok"], summary["failed"]) == (12, 1)
    assert sum(row["count"] for row in data["classes"]) == 12
    counts = np.array(data["confusion"]["counts"])
    assert counts.sum() == 12
    right = sum(row["right"] for row in data["classes"])
    assert np.trace(counts) == right == round(12 * summary["top1_acc"])
    covered = sum((p["to"] - p["from"]) * p["rate"] for p in data["throughput"])
    assert covered == pytest.approx(12)
    assert sum(state["share"] for state in data["states"]) == pytest.approx(1)
    assert list(data["latency"]) == ["assign", "decode", "transport", "queue", "infer", "total"]
    for quantiles in data["latency"].values():
        assert quantiles == sorted(quantiles)
    assert data["failures"][0]["id"] == HOSTILE
    assert sum(pair["count"] for pair in data["pairs"]) == 12 - right
    assert len(data["rows"]) == len(data["seconds"]) == 12
    for _, label, best, shares in data["rows"]:
        assert len(best) == len(shares) == 5
        assert shares == sorted(shares, reverse=True)
        assert 0 <= label < 51
    assert zlib.decompress(base64.b64decode(data["motions"]))[0] in range(20, 32)
    assert HOSTILE not in page
    addresses = set(re.findall(r"https?://[^\"'\s]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a place


def test_without_labels(tmp_path: Path, tiny_model: Path, capfd: Any) -> None:
    page = write(tmp_path, tiny_model, *(annotation(30, seed=i, label=None) for i in range(3)))
    capfd.readouterr()
    data = embedded(page)
    assert data["classes"] == []
    assert all(label == -1 for _, label, _, _ in data["rows"])
    assert sum(row["count"] for row in data["seen"]) == 3
    surest = [shares[0] for _, _, _, shares in data["rows"]]
    assert surest == sorted(surest), "the least sure first"


def test_as_many_samples_as_hmdb51_tests_on(tmp_path: Path, tiny_model: Path, capfd: Any) -> None:
    """Each has a row and a skeleton, in less than a megabyte."""
    moved = [annotation(18 + n, persons=1 + n % 2, seed=n) for n in range(60)]
    samples = [{**moved[n % 60], "frame_dir": f"video number {n}"} for n in range(1530)]
    page = write(tmp_path, tiny_model, *samples, clips="1")
    capfd.readouterr()
    assert len(page.encode()) < 1e6
    data = embedded(page)
    assert len(data["rows"]) == len(data["seconds"]) == 1530


DRAWN = """
const canvas = document.querySelector("canvas");
const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
return Array.from(pixels.filter((_, i) => i % 4 === 3));
"""


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=str)
def window(browser: Any, request: pytest.FixtureRequest) -> Any:
    width, height = request.param
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    return browser


def rows(browser: Any) -> list[list[str]]:
    found: list[list[str]] = browser.execute_script(
        "return [...document.querySelectorAll('#predictions tbody tr')]"
        ".map(row => [...row.cells].map(cell => cell.innerText))"
    )
    return found


def test_in_a_browser(window: Any, tmp_path: Path, tiny_model: Path, capfd: Any) -> None:
    samples = [annotation(60, seed=i) for i in range(6)]
    broken = annotation(20, seed=99, frame_dir=HOSTILE, img_shape=(0, 0))
    data = embedded(write(tmp_path, tiny_model, *samples, broken, code=3))
    capfd.readouterr()
    window.get((tmp_path / "report.html").as_uri())
    no_complaints(window)
    until(lambda: count(window, "canvas"), "skeletons are unpacked")
    mistakes = sum(label != best[0] for _, label, best, _ in data["rows"])
    assert mistakes, "an untrained model makes mistakes"
    until(lambda: count(window, "canvas") == mistakes, "of the worst mistakes")
    first = np.array(window.execute_script(DRAWN))
    time.sleep(0.5)
    second = np.array(window.execute_script(DRAWN))
    assert (second > 0).sum() > 500, "a skeleton is drawn"
    assert (first != second).sum() > 50, "and it moves"
    assert count(window, "#perclass .bar") == 6
    assert count(window, "#rate rect") == len(data["throughput"]) == 6, "a short run has bars"
    assert count(window, "img") == 0, "text stays text"
    visible = text(window, "body")
    for said in ("top-1 accuracy", "of 7 samples scored", "Samples that failed", HOSTILE):
        assert said in visible
    looks_well(window)


def test_the_table(window: Any, tmp_path: Path, tiny_model: Path, capfd: Any) -> None:
    """It is sorted and filtered by what it shows, and has every sample's skeleton."""
    data = embedded(write(tmp_path, tiny_model, *(annotation(20, seed=i) for i in range(60))))
    capfd.readouterr()
    window.get((tmp_path / "report.html").as_uri())
    click = lambda what: window.execute_script(f"document.querySelector('{what}').click()")  # noqa: E731
    assert len(rows(window)) == 50
    click("#more")
    assert [row[0] for row in rows(window)] == [row[0] for row in data["rows"]]
    click("#predictions th button")
    assert [row[0] for row in rows(window)][:3] == ["video_0", "video_1", "video_2"]
    click("#predictions th button")
    assert rows(window)[0][0] == "video_59"
    click("#wrong")
    wrong = {row[0] for row in data["rows"] if row[1] != row[2][0]}
    assert text(window, "#shown") == f"{len(wrong)} of 60"
    assert all(row[1] != row[2] for row in rows(window))
    click("#wrong")
    before = until(lambda: count(window, "canvas"), "the worst mistakes have skeletons")
    click("#predictions tbody button")
    until(lambda: count(window, ".detail canvas") == 1, "and so has any row")
    click("#predictions tbody button")
    assert count(window, "canvas") <= before
    looks_well(window)
    no_complaints(window)


def test_without_labels_in_a_browser(
    window: Any, tmp_path: Path, tiny_model: Path, capfd: Any
) -> None:
    write(tmp_path, tiny_model, *(annotation(30, seed=i, label=None) for i in range(3)))
    capfd.readouterr()
    window.get((tmp_path / "report.html").as_uri())
    visible = text(window, "body")
    for said in ("The least sure", "What was seen", "classes seen", "of 3 samples scored"):
        assert said in visible
    for absent in ("wrong only", "Confusion", "Accuracy by class", "mistakes"):
        assert absent not in visible
    looks_well(window)
    no_complaints(window)
