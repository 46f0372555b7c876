"""All parties of a run on one machine, through the same client and server apps as between machines."""
