"""The command line: one module a group of commands, each with `add(commands)`; heavy imports wait in its functions."""
