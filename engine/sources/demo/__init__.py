"""An embedded demo: generated skeleton sequences and weights that were trained on them."""
