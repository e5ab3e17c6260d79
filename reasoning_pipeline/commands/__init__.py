"""The command line: a file a command, with its printing; each has `add(commands)`, and imports late what is heavy."""
