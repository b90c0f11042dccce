"""Limits: how often a process or an engine may die before a run gives up, or a sample does."""

from __future__ import annotations

from typing import Final

MAX_FAILED_STARTS: Final = 3
"""Deaths in a row of one slot before it was READY."""

MAX_DEATHS_WITHOUT_PROGRESS: Final = 10
"""Deaths of one slot without a record, of any sample, between them."""

MAX_DEATHS: Final = 3
"""Deaths of whoever had a sample alone; then it has an error record."""
