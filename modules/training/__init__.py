"""Training: the built-in model, and the parts (schedule, averages, loops) that other training shares."""
