"""Measurements: ratios of medians of alternating runs against the stock tools, on one machine."""
