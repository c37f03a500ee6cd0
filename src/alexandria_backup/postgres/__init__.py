"""The room of PostgreSQL: connections, catalogue facts, client tools, swap and embedded server."""
