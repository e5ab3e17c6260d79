"""Our server processes: one, the pool of a run, the teacher's, adopted ones, the register of what runs."""
