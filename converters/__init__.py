"""Checkpoints to model files. The only package that knows mmaction2's formats."""
