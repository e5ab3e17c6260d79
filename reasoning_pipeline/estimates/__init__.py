"""What a plan will cost before it runs: memory of each device, tokens, floating-point operations, hours, disk.

`shapes` knows how big a model is, `memory` what a device must hold, `work` what must be computed, `steps` puts them
together for each step of a plan, `display` prints it. Arithmetic over a few integers: nothing here imports torch.
"""
