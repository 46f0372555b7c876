"""The exchange: one process on one port that lets holders in, keeps agreements and conducts runs."""
