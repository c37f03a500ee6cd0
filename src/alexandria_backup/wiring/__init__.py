"""Settings become objects; nothing is decided here."""
