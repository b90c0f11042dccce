"""Streaming inference for skeleton action recognition with PoseC3D.

The way of a sample: `sources` read it, or `live` cuts it from a stream; `runtime.scheduler` leases
it to a `runtime.worker`, which draws clips (`skeletons`) and sends them to a `runtime.executor`;
there `network.runners` execute the network on one of the `backends`; `runtime.aggregator` makes a
record of the logits (`base.records`), which `outputs` write. `pipeline` and `livestream` are that
way as users hold it; `cli` is the command line; `base` is what all of them stand on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.base.version import __version__

if TYPE_CHECKING:
    from engine.base.options import Options
    from engine.classifier import classify
    from engine.livestream import Stream, stream
    from engine.outputs.fusion import fuse_scores
    from engine.pipeline import Pipeline, predict
    from engine.preprocessing import preprocess

__all__ = [
    "Options",
    "Pipeline",
    "Stream",
    "__version__",
    "classify",
    "fuse_scores",
    "predict",
    "preprocess",
    "stream",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use: a decode worker imports this package and needs none of it, and the
    # command line has to listen to signals before it loads much.
    if name in ("Pipeline", "predict"):
        from engine import pipeline

        return getattr(pipeline, name)
    if name in ("Stream", "stream"):
        from engine import livestream

        return getattr(livestream, name)
    if name == "classify":
        from engine.classifier import classify

        return classify
    if name == "fuse_scores":
        from engine.outputs.fusion import fuse_scores

        return fuse_scores
    if name == "preprocess":
        from engine.preprocessing import preprocess

        return preprocess
    if name == "Options":
        from engine.base.options import Options

        return Options
    raise AttributeError(f"module 'engine' has no attribute {name!r}")
