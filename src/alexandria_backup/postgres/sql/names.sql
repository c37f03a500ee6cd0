-- Names in a database of encoding SQL_ASCII, which takes any bytes for a name.

-- name: names
-- As bytes: text that is no UTF-8 would not be sent at all.
SELECT 'schema' AS kind, n.oid::int8 AS relation,
    pg_catalog.convert_to(n.nspname::text, 'SQL_ASCII') AS name
FROM pg_catalog.pg_namespace AS n
UNION ALL
SELECT 'relation', c.oid::int8, pg_catalog.convert_to(c.relname::text, 'SQL_ASCII')
FROM pg_catalog.pg_class AS c
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'i')
UNION ALL
SELECT 'column', a.attrelid::int8, pg_catalog.convert_to(a.attname::text, 'SQL_ASCII')
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
