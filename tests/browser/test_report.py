"""The page about a run: complete, alone in one file, safe, and alive in a real browser."""

from __future__ import annotations

import json
import pickle
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.run import main
from tests.browser.shown import no_complaints
from tests.support.samples import annotation

HOSTILE = "</script><img src=x onerror=alert(1)>"


def write(tmp_path: Path, model: Path, *annotations: Any, code: int = 0) -> str:
    """The page of a run over these annotations."""
    data, page = tmp_path / "data.pkl", tmp_path / "report.html"
    data.write_bytes(pickle.dumps(list(annotations)))
    assert main(["--dataset", str(data), "--model", str(model), "--report", str(page)]) == code
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
    for shown in data["samples"]:
        assert [len(top) for top in shown["top"]] == [2] * 5
        assert all(len(person) == 17 for frame in shown["frames"] for person in frame)
    assert HOSTILE not in page
    addresses = set(re.findall(r"https?://[^\"'\s]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a place


def test_without_labels(tmp_path: Path, tiny_model: Path, capfd: Any) -> None:
    page = write(tmp_path, tiny_model, *(annotation(30, seed=i, label=None) for i in range(3)))
    capfd.readouterr()
    data = embedded(page)
    assert data["classes"] == []
    assert all(sample["truth"] is None for sample in data["samples"])


DRAWN = """
const canvas = document.querySelector("canvas");
const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
return Array.from(pixels.filter((_, i) => i % 4 === 3));
"""


@pytest.mark.parametrize("width", [390, 1200])
def test_in_a_browser(
    browser: Any, tmp_path: Path, tiny_model: Path, capfd: Any, width: int
) -> None:
    samples = [annotation(60, seed=i) for i in range(6)]
    broken = annotation(20, seed=99, frame_dir=HOSTILE, img_shape=(0, 0))
    page = write(tmp_path, tiny_model, *samples, broken, code=3)
    capfd.readouterr()
    browser.set_window_size(width, 900)
    browser.get((tmp_path / "report.html").as_uri())
    no_complaints(browser)
    first = np.array(browser.execute_script(DRAWN))
    time.sleep(0.5)
    second = np.array(browser.execute_script(DRAWN))
    assert (second > 0).sum() > 500, "a skeleton is drawn"
    assert (first != second).sum() > 50, "and it moves"
    count = "return document.querySelectorAll(arguments[0]).length"
    assert browser.execute_script(count, "canvas") == len(embedded(page)["samples"]) > 0
    assert browser.execute_script(count, "#perclass rect") == 2 * 6
    assert browser.execute_script(count, "img") == 0, "text stays text"
    visible = browser.execute_script("return document.body.innerText")
    for text in ("top-1 accuracy", "of 7 samples scored", "Samples that failed", HOSTILE):
        assert text in visible
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= browser.execute_script("return innerWidth"), "nothing sticks out"
