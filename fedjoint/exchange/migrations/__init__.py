"""How the exchange's database came to be, version by version."""
