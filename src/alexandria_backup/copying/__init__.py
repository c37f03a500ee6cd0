"""The engine: data out of a database, and back into one."""
