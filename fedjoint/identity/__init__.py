"""Keys of a party: to sign, and to receive what only it may read."""
