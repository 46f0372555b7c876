"""The signed document that fixes everything a run may do."""
