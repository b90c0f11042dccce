"""Links of the documentation to files and sections, and the names of modules in it."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from tests.integration.docs.commands import PAGES, ROOT

CARD = ROOT / "engine" / "sources" / "demo" / "MODEL_CARD.md"
TEXTS = [*PAGES, ROOT / "CHANGELOG.md", CARD]

_FENCED = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(r"`((?:engine|converters|benchmarks|tests)/[\w./]*)(?:::\w+)?`")
_NAME = re.compile(r"`((?:engine|converters|benchmarks)(?:\.\w+)+)`")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's sections, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", _FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in _LINK.findall(_FENCED.sub("", page.read_text())):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_are_of_something(page: Path) -> None:
    """Paths of the repository, modules, and what is in them."""
    text = page.read_text()
    lost = [path for path in _PATH.findall(text) if not (ROOT / path).exists()]
    lost += [name for name in _NAME.findall(text) if not _found(name)]
    assert lost == []


def _found(name: str) -> bool:
    if name in ("engine.backends", "engine.sources"):  # entry point groups, and packages
        return True
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        module, _, attribute = name.rpartition(".")
        return error.name == name and _found(module) and hasattr(import_module(module), attribute)
    return True
