"""`alexandria.toml` and `ALEXANDRIA_*` variables, as typed settings."""
