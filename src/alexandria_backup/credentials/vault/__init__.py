"""A DSN in Vault or OpenBao."""
