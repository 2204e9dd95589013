"""Measurements, run with ``make bench``; ratios within one run, nothing is asserted."""
