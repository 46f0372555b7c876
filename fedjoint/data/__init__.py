"""From files to numbers: read a table, say what its columns mean, encode its records, divide them among the holders."""
