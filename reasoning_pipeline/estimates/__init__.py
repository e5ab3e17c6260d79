"""What a plan will cost before it runs: memory of each device, tokens, floating-point operations, hours, disk.

`shapes` knows how big a model is, `tasks` what a step does with it, `memory` what a device must hold, `fitting` whether
that is too much and what would help, `work` what must be computed; `steps` puts them together for each step of a plan.
Arithmetic over a few integers: nothing here imports torch.
"""
