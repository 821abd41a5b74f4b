"""Measurements: `python -m bench.NAME` in the root of the checkout; what came out is in README.md."""
