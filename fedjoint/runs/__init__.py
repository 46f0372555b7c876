"""One run, one folder: what it holds, how it is written whole, how anyone verifies it, how it is shown."""
