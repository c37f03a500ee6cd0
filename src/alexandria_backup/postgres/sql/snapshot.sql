-- What a snapshot's own transactions ask for.

-- name: export
SELECT pg_catalog.pg_export_snapshot()

-- name: position
-- Transaction ids with their epochs. The timeline of a primary is the one that it writes on: what
-- the last checkpoint says is stale after a promotion. A standby's is not asked for: 0.
SELECT
    CASE WHEN r.recovers THEN pg_catalog.pg_last_wal_replay_lsn()
         ELSE pg_catalog.pg_current_wal_insert_lsn() END::text AS lsn,
    CASE WHEN r.recovers THEN 0
         ELSE ('x' || substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))
              ::bit(32)::bigint END AS timeline,
    pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot()) AS xmin,
    pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) AS xmax
FROM (SELECT pg_catalog.pg_is_in_recovery()) AS r (recovers)

-- name: cluster
-- What must be the same in the whole cluster for stored rows to be taken over.
SELECT
    pg_catalog.current_setting('server_version_num') AS server_version_num,
    (SELECT d.oid::text FROM pg_catalog.pg_database AS d
     WHERE d.datname = pg_catalog.current_database()) AS database_oid,
    pg_catalog.current_setting('server_encoding') AS server_encoding,
    pg_catalog.current_setting('block_size') AS block_size,
    pg_catalog.current_setting('fsync') AS fsync,
    pg_catalog.current_setting('lc_monetary') AS lc_monetary

-- name: age
-- Within one transaction every age counts from the same transaction id.
SELECT pg_catalog.age(%s::text::pg_catalog.xid)

-- name: settle_copying
-- A parallel scan would send rows in no certain order; without TID scans a range is a full scan.
SELECT pg_catalog.set_config(s.name, v.value, false)
FROM (VALUES ('max_parallel_workers_per_gather', '0'), ('enable_tidscan', 'on'),
             ('quote_all_identifiers', 'off')) AS v (name, value)
JOIN pg_catalog.pg_settings AS s ON s.name = v.name

-- name: lockable
-- Every table that pg_dump locks, too; it is told to leave out what a run has put aside.
SELECT c.oid, n.nspname AS schema, c.relname AS name
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT pg_catalog.starts_with(
      coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), ''), '{"alexandria-backup"')
ORDER BY c.oid
