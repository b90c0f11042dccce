"""The doctor: ``python -m engine.doctor`` says what this host can run, and what it lacks."""

from __future__ import annotations

import sys

from engine.cli.doctor import main

if __name__ == "__main__":
    sys.exit(main())
