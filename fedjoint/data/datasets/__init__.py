"""Data that a run can start with: four hospitals' heart disease records, a stand-in with made-up holders, own files."""
