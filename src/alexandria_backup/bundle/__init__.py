"""Bundles: configuration, tools and knowledge store in one file that proves itself."""
