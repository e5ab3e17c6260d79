"""One file per stage. A stage's kind is its file name; see reasoning_pipeline/recipe/stage.py for what a file contains."""
