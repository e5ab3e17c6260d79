"""One file per stage. A stage's kind is its file name; recipe/stage.py says what a file contains."""
