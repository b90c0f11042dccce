"""The conversion that the engine starts, once for a checkpoint: `converters.pytorch2onnx` in a
process that ends with the one that waits for it.

Run as ``python -m converters.conversion PARENT …``, by `engine.network.conversions`.
"""

from __future__ import annotations

import sys

from engine.base.subprocesses import end_with

if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    from converters.pytorch2onnx import main  # which takes a second to load

    sys.exit(main(sys.argv[2:]))
