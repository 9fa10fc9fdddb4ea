"""The command line `hourbank`: record, export, run locally."""
