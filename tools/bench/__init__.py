"""Measuring commands: run with `python -m tools.bench.NAME`. Figures come from here, never from a test."""
