"""The version of the engine; processes that work together have the same one."""

__version__ = "0.1.0"
VERSION = f"posec3d-engine {__version__}"
CONVERSION = 3  # of a checkpoint; raised where converters make something else of the same one
