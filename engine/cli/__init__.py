"""The work of the command line, behind the thin modules that users start."""
