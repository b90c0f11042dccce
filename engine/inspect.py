"""Inspection: ``python -m engine.inspect FILE`` says what the engine sees in a file of poses."""

from __future__ import annotations

import sys

from engine.cli.inspect import main

if __name__ == "__main__":
    sys.exit(main())
