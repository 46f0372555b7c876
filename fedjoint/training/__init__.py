"""The run itself: what holders and coordinator do in each exchange, as plain Python over small Protocols."""
