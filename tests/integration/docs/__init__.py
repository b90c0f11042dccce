"""The documentation: its commands, its tables of options, its links and the names in it."""
