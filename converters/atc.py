"""ATC: CANN's compiler, which makes an OM of an ONNX file.

Comes in: a `Compilation`. Goes out: the OM, and ``NAME.om.json`` beside it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.backends.ascend import npus
from engine.base import assets
from engine.base.choices import CLIPS, CONTEXTS, SHARED
from engine.base.errors import ModelError, UsageError
from engine.network.chain import Chain
from engine.network.cuts import PLAN
from engine.network.metadata import recipe_to_file
from engine.network.models import SLOWONLY, ModelFile
from engine.network.om import SUFFIX, Description

_EXACT = ("force_fp32", "must_keep_origin_dtype")  # of atc's precision modes
_EXACT_V2 = ("--precision_mode_v2=origin",)


@dataclass(frozen=True)
class Compilation:
    """One call of atc. `gears`: samples in layout ``clips``, otherwise frames; several are compiled
    into one graph. `levels`: in layout ``shared``, rows of each."""

    onnx: Path
    output: Path  # without .om
    shapes: Mapping[str, Sequence[int]]
    gears: tuple[int, ...]
    soc_version: str
    fp16_inputs: bool
    precision_mode: str | None
    more: tuple[str, ...]  # options of atc, as the user gave them
    levels: tuple[int, ...]

    @property
    def command(self) -> list[str]:
        """The command line."""
        shapes = [f"{name}:{','.join(map(str, shape))}" for name, shape in self.shapes.items()]
        words = [
            "atc",
            "--framework=5",  # ONNX
            f"--model={self.onnx}",
            f"--output={self.output}",
            "--input_format=ND",
            f"--input_shape={';'.join(shapes)}",
            f"--soc_version={self.soc_version}",
            "--log=error",
        ]
        if len(self.gears) > 1:
            words.append(f"--dynamic_batch_size={','.join(map(str, self.gears))}")
        if self.fp16_inputs:
            words.append(f"--input_fp16_nodes={next(iter(self.shapes))}")
        if self.precision_mode:
            words.append(f"--precision_mode={self.precision_mode}")
        return [*words, *self.more]

    @property
    def precision(self) -> str:
        """What the convolutions run in. A 310P knows fp16 only, whatever it is told."""
        exact = self.precision_mode in _EXACT or any(option in self.more for option in _EXACT_V2)
        return "f32" if exact and "310P" not in self.soc_version else "f16"

    def describe(self, om: Path, model: ModelFile, chain: Chain | None) -> None:
        """Write what is known of an OM beside it. `chain`: of layout ``shared``."""
        names = list(self.shapes)
        form = CONTEXTS if chain is not None else SHARED if PLAN in names else CLIPS
        Description(
            layout=form,
            gears=self.gears,
            geared=len(self.gears) > 1,
            dtype="float16" if self.fp16_inputs else "float32",
            precision=self.precision,
            classes=model.classes,
            preprocessing=recipe_to_file(model.recipe),
            soc_version=self.soc_version,
            sha256=assets.file_sha256(om),
            network=None if model.network == SLOWONLY else model.network,
            split=model.split,
            published=None if model.published is None else model.published.name,
            strides=None if chain is None else chain.strides,
            levels=None if chain is None else self.levels,
            made_of=model.sha256,
        ).write(om)
        print(f"wrote {om}.json")

    def compiled(self) -> Path:
        """Run it. Returns the OM, whose name may have the host's platform in it. Raises
        `ModelError`."""
        names = [
            self.output.with_name(f"{self.output.name}{suffix}{SUFFIX}")
            for suffix in ("", "_linux_x86_64", "_linux_aarch64")
        ]
        before = {name: name.stat().st_mtime_ns for name in names if name.exists()}
        code = subprocess.run(self.command, check=False).returncode
        if code:
            raise ModelError(f"atc ended with exit code {code}; what it printed is above")
        new = [n for n in names if n.exists() and before.get(n) != n.stat().st_mtime_ns]
        if not new:
            raise ModelError(f"atc wrote none of {', '.join(map(str, names))}")
        [om] = new
        if om != names[0]:
            if len(self.gears) > 1:
                raise ModelError(
                    f"atc wrote {om}: it has been compiled for any shape instead of for gears; "
                    "give fewer of them, or static files (--batch, --unique)"
                )
            print(
                f"onnx2om: {om.name}: parts of it run on the host, and it loads on this platform "
                "only",
                file=sys.stderr,
            )
        os.chmod(om, om.stat().st_mode & ~0o022)  # the runtime takes no file that others can write
        return om


def check_environment() -> None:
    """Raise `UsageError` where atc cannot run."""
    if shutil.which("atc") is not None:
        return
    home, _ = npus.toolkit({})
    if home is None:
        raise UsageError(
            "there is no atc here: it comes with CANN's toolkit (python -m engine.doctor); "
            "--dry-run prints the commands for another host"
        )
    folder = home.parent if home.name == "latest" else home
    raise UsageError(f"atc is not on PATH: source {folder}/set_env.sh first")
