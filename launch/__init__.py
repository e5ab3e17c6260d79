"""How steps are started on other shapes of machine: configurations for `accelerate launch` (accelerate/)."""
