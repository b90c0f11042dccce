"""pyACL: OM files on an Ascend NPU, through CANN's own Python module ``acl``.

It comes with every CANN, so that nothing has to be built; device memory is allocated once, and the
next run's inputs are copied while one is executed, which ``aclruntime`` can do neither of. It says
itself for which gears a file was compiled.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.backends.ascend.common import (
    OF_MEMORY,
    check_bytes,
    check_shapes,
    device_number,
    load_all,
    spelt,
)
from engine.backends.ascend.printed import Printed, advised, with_printed
from engine.backends.ascend.process import OutOfDeviceMemory
from engine.backends.ascend.remote import open_remote
from engine.base.choices import Precision
from engine.base.errors import BackendError, ModelError, UsageError
from engine.base.records import Facts
from engine.network.backend import Array, Backend
from engine.network.models import ModelFile
from engine.network.om import DTYPES, CompiledFile, Interface

_INITIALISED = 100002  # before, by somebody else in this process
_HUGE_FIRST = 0
_TO_DEVICE, _TO_HOST = 1, 2
_GEAR_INPUT = "ascend_mbatch_shape_data"
_DTYPES = {0: "float32", 1: "float16", 3: "int32"}  # of aclDataType


def load(model: ModelFile, *, device: str | None, precision: Precision, threads: int) -> Backend:
    """The backend ``pyacl``: the OM files of a model, in a device process."""
    if not model.compiled:
        raise UsageError(f"--backend pyacl runs .om files, and {model.path} is none")
    return open_remote(f"{__name__}:PyAclSession", model, device_number(device))


class PyAclSession:
    """A context and a stream; see `engine.backends.ascend.process.Session`. One run is executed,
    and the next one's inputs are copied meanwhile."""

    lanes = 2

    def __init__(
        self, files: Sequence[CompiledFile], interface: Interface, device: int, said: Printed
    ) -> None:
        import acl

        self._acl, self._device, self._said = acl, device, said
        self._interface = interface
        self._check(acl.init(), "acl.init", _INITIALISED)
        if code := acl.rt.set_device(device):
            raise UsageError(f"device {device}: {self._spelt(code)}")
        self._context = self._made(acl.rt.create_context(device), "create_context")
        self._stream = self._made(acl.rt.create_stream(), "create_stream")
        self.notes: list[str] = []
        self._graphs = load_all(files, interface, self._open, self.notes)
        first = self._graphs[0]
        self.files = [graph.file for graph in self._graphs]
        self.dtype, self.classes = first.dtype, first.classes
        self._by_size = {
            interface.size(gear): (graph, gear)
            for graph in self._graphs
            for gear in graph.file.gears
        }
        self.sizes = tuple(sorted(self._by_size))
        self._lanes = [self._lane() for _ in range(self.lanes)]
        self._copied: deque[int] = deque()  # lanes that wait for the stream
        self._executed: tuple[int, float] | None = None  # the lane on the stream, since when
        self.facts = Facts(
            runtime="pyACL",
            device=f"NPU {device} ({acl.get_soc_name()})",
            precision="f16",
            threads=0,
        )

    def start(self, lane: int, inputs: tuple[Array, ...]) -> None:
        graph, gear = self._by_size[len(inputs[0])]
        needed = [
            size * gear // graph.file.gears[-1] if number == 0 else size
            for number, size in enumerate(graph.input_sizes)
        ]
        check_bytes(graph.file, gear, needed, inputs)
        place = self._lanes[lane]
        place.graph, place.gear = graph, gear
        for pointer, array in zip(place.inputs, inputs, strict=True):
            self._check(
                self._acl.rt.memcpy(
                    pointer,
                    array.nbytes,
                    array.__array_interface__["data"][0],
                    array.nbytes,
                    _TO_DEVICE,
                ),
                "copying to the device",
            )
        self._copied.append(lane)
        if self._executed is None:
            self._execute()

    def finish(self, lane: int) -> tuple[NDArray[np.float32], float]:
        if self._executed is None:  # the run before it failed
            self._execute()
        assert self._executed is not None
        running, since = self._executed
        assert running == lane
        self._executed = None
        self._check(self._acl.rt.synchronize_stream(self._stream), "executing")
        seconds = time.perf_counter() - since
        if self._copied:  # the device goes on before the results are looked at
            self._execute()
        place = self._lanes[lane]
        assert place.graph is not None
        rows = self._interface.rows(place.gear)
        logits = np.empty((rows, self.classes), place.graph.output_dtype)
        self._check(
            self._acl.rt.memcpy(
                logits.__array_interface__["data"][0],
                logits.nbytes,
                place.output,
                logits.nbytes,
                _TO_HOST,
            ),
            "copying from the device",
        )
        return logits.astype(np.float32, copy=False), seconds

    def close(self) -> None:
        acl = self._acl
        for graph in self._graphs:
            acl.mdl.unload(graph.model)
            acl.mdl.destroy_desc(graph.desc)
        acl.rt.destroy_stream(self._stream)
        acl.rt.destroy_context(self._context)  # with what was allocated in it
        acl.rt.reset_device(self._device)
        acl.finalize()

    # Runs

    def _execute(self) -> None:
        """Give the stream the run that has waited longest. One model never runs twice at once."""
        lane = self._copied.popleft()
        place, acl = self._lanes[lane], self._acl
        graph = place.graph
        assert graph is not None
        ins, outs = self._datasets(lane, graph)
        if graph.gear_index is not None:
            code = acl.mdl.set_dynamic_batch_size(graph.model, ins, graph.gear_index, place.gear)
            self._check(code, f"choosing gear {place.gear}")
        self._executed = lane, time.perf_counter()
        code = acl.mdl.execute_async(graph.model, ins, outs, self._stream)
        self._check(code, "executing")

    def _datasets(self, lane: int, graph: _Graph) -> tuple[int, int]:
        """What a graph reads and writes in a lane, described once."""
        if lane not in graph.datasets:
            place = self._lanes[lane]
            pointers = [*zip(place.inputs, graph.input_sizes, strict=True)]
            if graph.gear_index is not None:
                pointers.insert(graph.gear_index, (place.gears[graph.model], graph.gear_size))
            graph.datasets[lane] = (
                self._dataset(pointers),
                self._dataset([(place.output, graph.output_size)]),
            )
        return graph.datasets[lane]

    def _dataset(self, pointers: Sequence[tuple[int, int]]) -> int:
        acl = self._acl
        dataset: int = acl.mdl.create_dataset()
        for pointer, size in pointers:
            _, code = acl.mdl.add_dataset_buffer(dataset, acl.create_data_buffer(pointer, size))
            self._check(code, "add_dataset_buffer")
        return dataset

    def _lane(self) -> _Lane:
        """Device memory for the largest run of any graph."""
        sizes = [max(sizes) for sizes in zip(*(g.input_sizes for g in self._graphs), strict=True)]
        geared = [graph for graph in self._graphs if graph.gear_index is not None]
        return _Lane(
            inputs=[self._allocated(size) for size in sizes],
            gears={graph.model: self._allocated(graph.gear_size) for graph in geared},
            output=self._allocated(max(graph.output_size for graph in self._graphs)),
        )

    def _allocated(self, size: int) -> int:
        pointer, code = self._acl.rt.malloc(size, _HUGE_FIRST)
        self._check(code, f"allocating {size} bytes of device memory")
        return int(pointer)

    # Files

    def _open(self, file: CompiledFile) -> _Graph:
        acl, interface = self._acl, self._interface
        model, code = acl.mdl.load_from_file(str(file.path))
        what = f"loading {file.path.name}"
        if code in OF_MEMORY:
            raise OutOfDeviceMemory(f"{what} failed: {self._spelt(code)}")
        if code:
            advice = f"; was it compiled for this chip ({acl.get_soc_name()})?"
            raise ModelError(advised(f"{what} failed: {self._spelt(code)}", advice))
        chip = acl.get_soc_name()
        if file.soc_version not in (None, chip):
            self.notes.append(
                f"{file.path.name} was compiled for {file.soc_version}, and this chip is {chip}"
            )
        desc = acl.mdl.create_desc()
        self._check(acl.mdl.get_desc(desc, model), what)
        gear_index, code = acl.mdl.get_input_index_by_name(desc, _GEAR_INPUT)
        if code:
            gear_index = None
        numbers = [n for n in range(acl.mdl.get_num_inputs(desc)) if n != gear_index]
        shapes = [tuple(self._made(acl.mdl.get_input_dims(desc, n), what)["dims"]) for n in numbers]
        cells = check_shapes(file, shapes, acl.mdl.get_num_outputs(desc), interface)
        kinds = [_DTYPES.get(acl.mdl.get_input_data_type(desc, n), "another") for n in numbers]
        gears: tuple[int, ...] = (shapes[0][0],)
        gear_size = 0
        if gear_index is not None:
            batches = self._made(acl.mdl.get_dynamic_batch(desc), what)
            gears = tuple(sorted(batches["batch"][: batches["batchCount"]]))
            gear_size = acl.mdl.get_input_size_by_index(desc, gear_index)
        if file.gears not in ((), gears) or gears[0] < 1:
            raise ModelError(f"{file.path} was compiled for {gears}, not for {file.gears}")
        input_sizes = [acl.mdl.get_input_size_by_index(desc, n) for n in numbers]
        if input_sizes[0] != cells * gears[-1] * np.dtype(kinds[0]).itemsize:
            raise ModelError(f"{file.path}: an input of {input_sizes[0]} bytes of {kinds[0]}")
        output_size = acl.mdl.get_output_size_by_index(desc, 0)
        output_dtype = _DTYPES.get(acl.mdl.get_output_data_type(desc, 0), "another")
        if output_dtype not in DTYPES or kinds[0] not in DTYPES:
            raise ModelError(
                f"{file.path}: types {kinds[0]} and {output_dtype}; known: {', '.join(DTYPES)}"
            )
        return _Graph(
            file=replace(file, gears=gears, geared=gear_index is not None),
            model=model,
            desc=desc,
            dtype=kinds[0],
            classes=output_size // (interface.rows(gears[-1]) * np.dtype(output_dtype).itemsize),
            input_sizes=input_sizes,
            output_size=output_size,
            output_dtype=output_dtype,
            gear_index=gear_index,
            gear_size=gear_size,
            datasets={},
        )

    # Codes

    def _made(self, result: tuple[Any, int], what: str) -> Any:
        value, code = result
        self._check(code, what)
        return value

    def _check(self, code: int, what: str, allowed: int = 0) -> None:
        if code in (0, allowed):
            return
        message = f"{what} failed: {self._spelt(code)}"
        raise OutOfDeviceMemory(message) if code in OF_MEMORY else BackendError(message)

    def _spelt(self, code: int) -> str:
        return with_printed(spelt(code), self._said())


@dataclass
class _Graph:
    """A loaded file. Sizes are bytes at the largest gear; `datasets` by lane."""

    file: CompiledFile
    model: int
    desc: int
    dtype: str
    classes: int
    input_sizes: list[int]
    output_size: int
    output_dtype: str
    gear_index: int | None  # of the hidden input that tells the gear
    gear_size: int
    datasets: dict[int, tuple[int, int]]


@dataclass
class _Lane:
    """Device memory of a run, by its addresses, and what is in it."""

    inputs: list[int]
    gears: dict[int, int]  # by model
    output: int
    graph: _Graph | None = None
    gear: int = 0
