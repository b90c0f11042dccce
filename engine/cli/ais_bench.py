"""The options of ``ais_bench``, for those who come from the published NPU recipe: ours to each.

Comes in: a parser. Goes out: the parser, which refuses each of those options that it has not itself
and names the one to take.
"""

from __future__ import annotations

import argparse
from typing import Any

_SCORES = "--output FILE takes a record a sample, --scores or --logits FILE.npz the numbers"
_ALONE = "python -m benchmarks.pure_inference measures the device alone"
_SHAPES = "a file's sizes are found and chosen by the engine; --gears names those of a plain .om"
_OURS = {
    "--input": "--dataset reads the annotations themselves; no .bin files are needed",
    "--output_dirname": _SCORES,
    "--outfmt": _SCORES,
    "--batchsize": "--max-batch is the samples in a batch; a file's own size is found by itself",
    "--loop": f"{_ALONE}, --loop times",
    "--warmup_count": f"{_ALONE}; every run warms up before it counts",
    "--pure_data_type": _ALONE,
    "--display_all_summary": "--summary FILE takes the figures of a run",
    "--debug": "--log-json FILE takes what happens inside",
    "--divide_input": "--device 0,1 shares the samples among devices",
    "--dymBatch": _SHAPES,
    "--dymHW": _SHAPES,
    "--dymDims": _SHAPES,
    "--dymShape": _SHAPES,
    "--auto_set_dymshape_mode": _SHAPES,
    "--auto_set_dymdims_mode": _SHAPES,
}


def refuse_in(parser: argparse.ArgumentParser, *own: str) -> None:
    """Have a parser refuse the options of ais_bench by name, but for those that it has itself."""
    for flag in _OURS.keys() - set(own):
        parser.add_argument(flag, action=_Theirs, nargs="?", help=argparse.SUPPRESS)


class _Theirs(argparse.Action):
    """An option of ais_bench's."""

    def __call__(self, parser: argparse.ArgumentParser, *unused: Any, **also_unused: Any) -> None:
        flag = self.option_strings[0]
        parser.error(f"{flag} is an option of ais_bench; here {_OURS[flag]}")
