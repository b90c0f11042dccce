"""Metadata: what a file says of its accuracy gate."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.network.metadata import gate_passed

GATE: dict[str, Any] = {"loss": 0.5, "max_loss": 2.0, "agreement": 99.4, "min_agreement": 97.0}


@pytest.mark.parametrize(
    ("gate", "passed"),
    [
        (GATE, True),
        ({**GATE, "loss": -1.0}, True),  # better than before
        ({**GATE, "loss": None}, True),  # samples without labels
        ({**GATE, "loss": 2.1}, False),
        ({**GATE, "agreement": 96.9}, False),
        ({**GATE, "agreement": float("nan")}, False),
        ({**GATE, "loss": float("nan")}, False),
        ({**GATE, "loss": "0.5"}, False),
        ({"loss": 0.5, "agreement": 99.4}, False),
        ([], False),
        (None, False),
    ],
)
def test_gate(gate: object, passed: bool) -> None:
    assert gate_passed({"quantisation": json.dumps({"clips": 64, "gate": gate})}) is passed


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"clips": 64}'])
def test_no_gate(text: str) -> None:
    assert not gate_passed({"quantisation": text})
    assert not gate_passed({})
