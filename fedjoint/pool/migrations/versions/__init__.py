"""One file per version of the database; a file that was released never changes."""
