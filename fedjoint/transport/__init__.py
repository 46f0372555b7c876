"""Ways to carry the same Flower apps: in this process, or between machines."""
