"""The version of the engine; processes that work together have the same one."""

__version__ = "0.1.0"
