"""Measurements: ratios between this product and limit programs, interleaved in one run."""
