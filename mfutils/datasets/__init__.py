"""Data sets of the study: a verified registry and one loader per property."""
