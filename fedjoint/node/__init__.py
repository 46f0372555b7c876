"""A holder's own machine: its folder, what it reviews and signs, and the one process that takes part in runs."""
