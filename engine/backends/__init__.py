"""Runtimes that execute a network: OpenVINO, ONNX Runtime, PyTorch, Ascend NPUs. `registry` finds
them, and those of others, by the entry point group ``engine.backends``."""
