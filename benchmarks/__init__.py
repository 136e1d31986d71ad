"""Ratios measured in one run, beside the machine's own limits: ``python -m benchmarks --help``."""
