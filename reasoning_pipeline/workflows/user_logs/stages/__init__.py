"""One file a stage, named after its kind."""
