"""Digests, compression and signatures: what makes stored bytes trustworthy."""
