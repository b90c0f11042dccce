"""Doubles: stand-ins for what no machine without an NPU has. Tests put this folder on the path.

None of them is an NPU, and nothing measured with one says anything about an NPU.
"""
