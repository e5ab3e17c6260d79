"""What an answer is worth: the kinds of reward that a recipe or a suite may name, and functions of one's own."""
