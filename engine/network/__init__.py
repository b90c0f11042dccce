"""The network: model files, what can be shared between clips, and the runners that execute it.

`models` opens a file, `cuts` finds where its graph comes apart, `contexts` and `increments` which
inner results are distinct, `runners` executes it on a `backend`. Knows no particular runtime.
"""
