"""PyTorch: a GPU that draws, shares and averages by itself, from keypoints to logits.

`backend` loads a model; `steps` plans its network as convolutions of rows, `network` runs them;
`kernels` and `stem` are those of a GPU and `plain` the same by PyTorch's own operators, on any
device; `rasteriser` and, on a GPU, `limbs` draw frames.
"""
