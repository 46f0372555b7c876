"""What protects one record: noise, what it costs, and the limit on what a run may cost (add-or-remove adjacency)."""
