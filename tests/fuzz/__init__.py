"""A fuzzer for each door through which something of others comes in.

``python -m tests.fuzz DOOR`` (`tests.fuzz.__main__`) throws damaged and made-up inputs at a door.
"""
