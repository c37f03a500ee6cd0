"""PostgreSQL's custom archive format, read without PostgreSQL's programs."""
