"""What happened in a run: append-only, hash-chained, signed."""
