"""What every other package stands on: errors, constants, options, records, files, events.

Imports nothing else of the engine.
"""
