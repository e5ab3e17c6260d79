"""What a person writes: reading it, what is wrong with it, its arms, and how stages declare their fields."""
