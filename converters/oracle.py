"""mmaction2 0.24.1 as oracle: ``python -m converters.oracle``.

Runs `mmaction2_oracle.py` in a Python that has mmaction2, computes the same samples with
this engine, and compares: clip tensors by SHA-256, logits and scores by difference. Exits
non-zero where they differ.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from converters.old_python import run_script
from engine.base.command_parser import CommandParser
from engine.base.errors import EngineError
from engine.base.options import Options
from engine.base.records import Prediction
from engine.pipeline import Pipeline
from engine.preprocessing import preprocess

TOLERANCE = 2e-4  # of a logit, absolute: mmaction2's own float32 is within 4e-5


def main(argv: Sequence[str] | None = None) -> int:
    """Compare and print. Returns the exit code: 0 equal, 1 different, 2 usage."""
    args = _parser().parse_args(argv)
    try:
        return 0 if _compare(args) else 1
    except EngineError as error:
        print(f"oracle: {error}", file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m converters.oracle",
        description="Compare this engine with mmaction2 0.24.1 on the same samples.",
    )
    parser.add_argument("config", help="mmaction2 config file")
    parser.add_argument("checkpoint", help="checkpoint file (.pth)")
    parser.add_argument("annotations", help="annotation file (.pkl)")
    parser.add_argument("--python", required=True, help="the Python that has mmaction2")
    parser.add_argument("--split", default="test1", help="split; `all` for a bare list")
    parser.add_argument("--limit", type=int, help="samples whose tensors are compared")
    parser.add_argument(
        "--network",
        type=int,
        default=4,
        help="samples whose logits are compared, half a minute each (default: %(default)s)",
    )
    return parser


def _compare(args: argparse.Namespace) -> bool:
    options = Options(
        dataset=args.annotations,
        model=args.checkpoint,
        split=args.split,
        limit=args.limit,
        in_process=True,
    )
    with Pipeline(options) as pipeline, tempfile.TemporaryDirectory(prefix="posec3d-") as folder:
        output = Path(folder) / "oracle.npz"
        split = "none" if args.split == "all" else args.split
        more = () if args.limit is None else ("--limit", args.limit)
        run_script(
            args.python,
            "mmaction2_oracle.py",
            args.config,
            args.checkpoint,
            args.annotations,
            output,
            "--split",
            split,
            "--network",
            args.network,
            *more,
        )
        with np.load(output) as archive:
            expected = dict(archive)

        samples = pipeline.dataset.samples
        # Repeated identifiers carry a suffix here and none there.
        names = [a.get("filename", a.get("frame_dir")) for a in (s.annotation for s in samples)]
        same_order = names == expected["id"].tolist()
        equal = 0
        for sample, digest in zip(samples, expected["sha256"], strict=False):
            found = hashlib.sha256(preprocess(sample.annotation).tobytes()).hexdigest()
            equal += found == digest
            if found != digest:
                print(f"differs: clip tensor of {sample.id}")
        print(f"samples in the same order: {same_order}")
        print(f"clip tensors equal bit for bit: {equal} of {len(expected['sha256'])}")
        ok = same_order and equal == len(expected["sha256"])

        for row, record in zip(range(len(expected["logits"])), pipeline, strict=False):
            if not isinstance(record, Prediction):
                print(f"failed here: {record}")
                return False
            logits = float(np.abs(record.logits - expected["logits"][row]).max())
            scores = float(np.abs(record.scores - expected["scores"][row]).max())
            same_class = record.scores.argmax() == expected["scores"][row].argmax()
            print(
                f"{record.id}: logits differ by {logits:.1e}, scores by {scores:.1e}, "
                f"same class: {same_class}"
            )
            ok = ok and logits <= TOLERANCE and bool(same_class)
    return ok


if __name__ == "__main__":
    sys.exit(main())
