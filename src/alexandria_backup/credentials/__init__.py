"""Where a DSN comes from."""
