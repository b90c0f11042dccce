"""What a page in a browser shows: its text, its bars, the pixels of its skeletons."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support.chromium import complaints

SIZE = (640, 480)
THIGHS = {"left": (11, 13), "right": (12, 14)}


def until(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.1)
    return found


def text(browser: Any, selector: str) -> str:
    found = browser.execute_script(
        "const e = document.querySelector(arguments[0]); return e && e.innerText", selector
    )
    return found or ""


def count(browser: Any, selector: str) -> int:
    found = browser.execute_script(
        "return document.querySelectorAll(arguments[0]).length", selector
    )
    return int(found)


def colour(browser: Any, stream: str, x: float, y: float) -> tuple[list[int], list[int]]:
    """Of a pixel of the stream's canvas at a place in its frame, red to alpha; and of the
    page's left and right."""
    return tuple(
        browser.execute_script(
            """
        const [name, x, y, w, h] = arguments;
        const card = [...document.querySelectorAll(".card")]
            .find(c => c.querySelector("h3").textContent === name);
        if (!card) return [null, null];
        const canvas = card.querySelector("canvas");
        const width = canvas.clientWidth, height = canvas.clientHeight;
        const zoom = Math.min(width / w, height / h);
        const place = [x * zoom + (width - w * zoom) / 2, y * zoom + (height - h * zoom) / 2];
        const [column, row] = place.map(z => Math.round(z * devicePixelRatio));
        const pixel = canvas.getContext("2d").getImageData(column, row, 1, 1).data;
        const style = getComputedStyle(document.documentElement);
        return [[...pixel], ["blue", "orange"].map(n => style.getPropertyValue(`--${n}`).trim())];
        """,
            stream,
            x,
            y,
            *SIZE,
        )
    )


def hexadecimal(pixel: list[int]) -> str:
    return "#" + "".join(f"{value:02x}" for value in pixel[:3])


def drawn_at(browser: Any, stream: str, body: Any) -> bool:
    """Whether both thighs of a body have their colours, and the corner none."""
    if browser.execute_script("return document.querySelector('.card canvas') === null"):
        return False
    for side, (hip, knee) in THIGHS.items():
        x, y = body[[hip, knee], :2].mean(axis=0)
        pixel, names = colour(browser, stream, x, y)
        if pixel is None or hexadecimal(pixel) != names[side == "right"]:
            return False
    pixel, _ = colour(browser, stream, 5, 5)
    return pixel[3] == 0


def bars(browser: Any) -> list[tuple[str, str]]:
    found = browser.execute_script("""
        return [...document.querySelectorAll(".bars li")].map(
            li => [li.querySelector(".name").textContent, li.querySelector("i").style.width])
    """)
    return [tuple(one) for one in found]


def no_complaints(browser: Any) -> None:
    assert complaints(browser) == []


def fits(browser: Any) -> None:
    wide, inner = browser.execute_script(
        "return [document.documentElement.scrollWidth, innerWidth]"
    )
    assert wide <= inner, "nothing sticks out"


def drawn(browser: Any) -> bytes:
    """Opacities of the first card's pixels, if there is anything."""
    found = bytes(
        browser.execute_script("""
        const canvas = document.querySelector(".card canvas");
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return Array.from(data.filter((_, i) => i % 4 === 3));
    """)
    )
    return found if np.count_nonzero(list(found)) > 500 else b""


LOOKS = """
const number = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
  .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = e => {
  for (; e; e = e.parentElement) {
    const colour = number(getComputedStyle(e).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
};
const found = [];
for (const e of document.querySelectorAll("body *")) {
  if (!e.getClientRects().length || e.closest("script")) continue;
  if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
  const style = getComputedStyle(e), said = e.textContent.trim().slice(0, 30);
  if (parseFloat(style.fontSize) < 11) found.push(`small: ${said}`);
  const drawing = e.ownerSVGElement;
  if (drawing && drawing.viewBox.baseVal?.width) found.push(`scaled: ${said}`);
  const [a, b] = [number(drawing ? style.fill : style.color), behind(e)].map(light);
  if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5) found.push(`faint: ${said}`);
}
if (document.documentElement.scrollWidth > innerWidth) found.push("something sticks out");
return found;
"""


def looks_well(browser: Any) -> None:
    """In both themes: no text that is small or faint, and nothing sticks out."""
    for theme in ("dark", "light"):
        feature = [{"name": "prefers-color-scheme", "value": theme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": feature})
        assert browser.execute_script(LOOKS) == [], theme
