-- name: columns
-- Columns of the tables of some names, in some schemas or in all where none is given; a partition
-- is read through its table, and what an extension or a temporary schema holds is nobody's chain.
SELECT n.nspname, c.relname, c.relkind::text, a.attname,
    pg_catalog.format_type(a.atttypid, a.atttypmod)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname = ANY (%s::text[])
  AND (pg_catalog.cardinality(%s::text[]) = 0 OR n.nspname = ANY (%s::text[]))
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname, a.attnum
