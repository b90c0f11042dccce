"""Which command a command line is: to dump a data set, to score it, or to listen.

Comes in: arguments. Goes out: the exit code.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from engine.base.console import expendable
from engine.base.errors import EngineError, Interrupted, UsageError
from engine.base.events import event, events_to
from engine.base.option_field import about, files_written
from engine.base.options import Options
from engine.base.signals import deferred
from engine.cli.arguments import parse
from engine.cli.checks import check_outputs
from engine.outputs.formats import journal_of, result_of
from engine.outputs.journal import can_go_on

log = logging.getLogger("engine")


def dispatch(arguments: Sequence[str]) -> int:
    """Do what the arguments say. Raises `EngineError` for what ends it."""
    if not arguments and "ENGINE_DATASET" not in os.environ:
        arguments = _offer()
    options = parse(arguments)
    if options.dump_bin is not None:
        with deferred():
            from engine.cli.dump import dump
        return dump(options, Path(options.dump_bin))
    check_outputs(options)
    kept = [name for f, name in files_written(options) if about(f).writes != "lines"]
    shown = any((*kept, options.publish, options.dashboard, options.metrics))
    with deferred():
        from engine.runtime.standby import executor_standing_by
    with (
        expendable("stdout") if shown else nullcontext(),
        events_to(options.log_json),
        executor_standing_by(options),
    ):
        if options.source or options.windows:
            with deferred():
                from engine.cli.listen import listen
            return listen(options)
        return _scored(options)


def _scored(options: Options) -> int:
    """Score a data set; tell the log how it ended."""
    with deferred():
        from engine.cli.score import score
    name = options.resume or options.output
    journal = None if name is None else journal_of(result_of(Path(name)))
    try:
        code = score(options)
    except BaseException as error:
        ends_with = Interrupted.exit_code if isinstance(error, KeyboardInterrupt) else 1
        ends_with = getattr(error, "exit_code", ends_with)
        about = event("gave up", error=type(error).__name__, exit_code=ends_with)
        log.debug("%s", error or "interrupted", extra=about)  # `engine.run` prints it
        cut_short = isinstance(error, (EngineError, KeyboardInterrupt))
        in_vain = isinstance(error, (UsageError, Interrupted))  # it would not help to go on
        if cut_short and not in_vain and journal is not None and can_go_on(journal):
            said = f"The records in {journal} are whole; --resume {journal} goes on"
            error.args = (f"{error}\n{said}",)
        raise
    log.debug("exit code %d", code, extra=event("ended", exit_code=code))
    return code


def _offer() -> Sequence[str]:
    """What to do without arguments: the demo, if somebody is there to say so."""
    demo = ["--dataset", "demo"]
    command = f"python -m engine.run {' '.join(demo)}"
    if sys.stdin and sys.stderr and sys.stdin.isatty() and sys.stderr.isatty():
        print(
            "The demo recognises 480 generated skeleton sequences with the weights that ship.\n"
            f"Run it ({command}; Ctrl-C sums up early)? [Y/n] ",
            end="",
            file=sys.stderr,
            flush=True,
        )
        answer = sys.stdin.readline()  # empty where the terminal has been closed
        if answer.strip().lower() in ("", "y", "yes") and answer:
            return demo
        raise UsageError("nothing to do; --help lists what there is")
    raise UsageError(f"nothing to do; try\n  {command}\nor --help")
