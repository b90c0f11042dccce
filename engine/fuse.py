"""Fusion: ``python -m engine.fuse JOINT.npz LIMB.npz`` fuses the scores of several networks."""

from __future__ import annotations

import sys

from engine.cli.fuse import main

if __name__ == "__main__":
    sys.exit(main())
