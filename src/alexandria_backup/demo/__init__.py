"""A stand-in Alexandria on an embedded PostgreSQL: schema, data, writer, `/ready`, `/license`."""
