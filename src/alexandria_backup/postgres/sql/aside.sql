-- Putting aside what stands in a database, and finding it again.

-- name: schemas
-- The system's are left out, and the lock of a restore in place. `extensions` have a member there: what is created by them, or they
-- themselves, cannot be moved by everybody who may create them.
SELECT n.nspname AS name, pg_catalog.pg_get_userbyid(n.nspowner) AS owner,
    pg_catalog.pg_has_role(n.nspowner, 'USAGE') AS ours,
    pg_catalog.has_schema_privilege(n.oid, 'CREATE') AS may_create,
    pg_catalog.obj_description(n.oid, 'pg_namespace') AS comment,
    EXISTS (SELECT FROM pg_catalog.pg_depend AS e
            WHERE e.classid = 'pg_catalog.pg_namespace'::regclass AND e.objid = n.oid
              AND e.deptype = 'e') AS of_extension,
    ARRAY(SELECT x.extname::text FROM pg_catalog.pg_extension AS x WHERE x.extnamespace = n.oid
          UNION
          SELECT x.extname::text
          FROM pg_catalog.pg_depend AS m
          JOIN pg_catalog.pg_depend AS e
            ON e.classid = m.classid AND e.objid = m.objid AND e.deptype = 'e'
          JOIN pg_catalog.pg_extension AS x ON x.oid = e.refobjid
          WHERE m.refclassid = 'pg_catalog.pg_namespace'::regclass AND m.refobjid = n.oid
          ORDER BY 1) AS extensions
FROM pg_catalog.pg_namespace AS n
WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'alexandria_backup_restoring')
ORDER BY n.nspname

-- name: contents
-- What must be moved one by one out of a schema that stays: all that depends on it and is neither an
-- extension's, nor a sequence of a column or the type of a relation, which go with it. The owner of
-- what the bootstrap superuser owns is noted nowhere. What is identified by types goes before them.
SELECT i.type AS kind, i.identity,
    pg_catalog.pg_get_userbyid(coalesce(s.refobjid, 10)) AS owner,
    pg_catalog.pg_has_role(coalesce(s.refobjid, 10), 'USAGE') AS ours
FROM pg_catalog.pg_depend AS d
JOIN pg_catalog.pg_namespace AS n ON n.oid = d.refobjid
CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) AS i
LEFT JOIN pg_catalog.pg_shdepend AS s
  ON s.classid = d.classid AND s.objid = d.objid AND s.objsubid = 0 AND s.deptype = 'o'
 AND s.dbid = (SELECT b.oid FROM pg_catalog.pg_database AS b
               WHERE b.datname = pg_catalog.current_database())
WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass AND n.nspname = %s AND d.deptype = 'n'
  AND d.classid <> 'pg_catalog.pg_extension'::regclass
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                  WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS o
                  WHERE o.classid = d.classid AND o.objid = d.objid
                    AND o.classid = 'pg_catalog.pg_class'::regclass
                    AND o.refclassid = 'pg_catalog.pg_class'::regclass
                    AND o.refobjsubid > 0 AND o.deptype IN ('a', 'i'))
ORDER BY i.type NOT IN ('aggregate', 'function', 'operator', 'procedure'), i.type, i.identity

-- name: grants
SELECT
    CASE WHEN a.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(a.grantee) END AS grantee,
    a.privilege_type AS privilege, a.is_grantable AS grantable
FROM pg_catalog.pg_namespace AS n
CROSS JOIN LATERAL pg_catalog.aclexplode(
    coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) AS a
WHERE n.nspname = %s
ORDER BY 1 NULLS FIRST, 2

-- name: named
-- What has a name in the database and no schema, and can be renamed. What an extension has made is its
-- own.
SELECT o.kind, o.name, pg_catalog.pg_get_userbyid(o.owner) AS owner,
    pg_catalog.pg_has_role(o.owner, 'USAGE') AS ours,
    pg_catalog.obj_description(o.oid, o.class::text) AS comment
FROM (SELECT 'publication' AS kind, p.pubname AS name, p.pubowner AS owner, p.oid,
             'pg_publication' AS class
      FROM pg_catalog.pg_publication AS p
      UNION ALL
      SELECT 'server', s.srvname, s.srvowner, s.oid, 'pg_foreign_server'
      FROM pg_catalog.pg_foreign_server AS s
      UNION ALL
      SELECT 'foreign data wrapper', w.fdwname, w.fdwowner, w.oid, 'pg_foreign_data_wrapper'
      FROM pg_catalog.pg_foreign_data_wrapper AS w) AS o
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                  WHERE e.classid = o.class::regclass AND e.objid = o.oid AND e.deptype = 'e')
ORDER BY o.kind, o.name

-- name: cannot_be_put_aside
-- What belongs to the database and can neither be renamed nor stand there twice; but for what an
-- extension has made, and for casts and transforms of a type that is put aside itself, which go with
-- it. 16384 is the first OID that is a user's.
SELECT o.kind, o.name FROM (
    SELECT 'subscription' AS kind, s.subname::text AS name, s.oid, 'pg_subscription' AS class
    FROM pg_catalog.pg_subscription AS s
    JOIN pg_catalog.pg_database AS d
      ON d.oid = s.subdbid AND d.datname = pg_catalog.current_database()
    UNION ALL
    SELECT 'event trigger', t.evtname, t.oid, 'pg_event_trigger'
    FROM pg_catalog.pg_event_trigger AS t WHERE t.evtenabled <> 'D'
    UNION ALL
    SELECT 'language', l.lanname, l.oid, 'pg_language' FROM pg_catalog.pg_language AS l
    UNION ALL
    SELECT 'access method', a.amname, a.oid, 'pg_am' FROM pg_catalog.pg_am AS a
    UNION ALL
    SELECT 'cast', pg_catalog.format_type(c.castsource, NULL) || ' as '
        || pg_catalog.format_type(c.casttarget, NULL), c.oid, 'pg_cast'
    FROM pg_catalog.pg_cast AS c
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_type AS t
                      WHERE t.oid IN (c.castsource, c.casttarget) AND t.oid >= 16384
                        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                                        WHERE e.classid = 'pg_catalog.pg_type'::regclass
                                          AND e.objid = t.oid AND e.deptype = 'e'))
    UNION ALL
    SELECT 'transform', pg_catalog.format_type(r.trftype, NULL), r.oid, 'pg_transform'
    FROM pg_catalog.pg_transform AS r) AS o
WHERE o.oid >= 16384
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
                  WHERE e.classid = o.class::regclass AND e.objid = o.oid AND e.deptype = 'e')
ORDER BY o.kind, o.name

-- name: default_privileges
-- A schema of NULL is every schema.
SELECT pg_catalog.pg_get_userbyid(a.defaclrole) AS role, n.nspname AS schema,
    a.defaclobjtype::text AS kind, pg_catalog.pg_has_role(a.defaclrole, 'USAGE') AS ours
FROM pg_catalog.pg_default_acl AS a
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = a.defaclnamespace
ORDER BY 1, 2, 3

-- name: default_grants
-- What a role's objects of a kind are granted; in every schema, where nobody has set anything, what
-- PostgreSQL grants, whose letter for sequences is another one.
SELECT
    CASE WHEN g.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(g.grantee) END AS grantee,
    g.privilege_type AS privilege, g.is_grantable AS grantable
FROM (SELECT r.oid, %s::text AS schema, %s::text AS kind
      FROM pg_catalog.pg_roles AS r WHERE r.rolname = %s) AS w
LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
LEFT JOIN pg_catalog.pg_default_acl AS a
  ON a.defaclrole = w.oid AND a.defaclobjtype = w.kind::"char"
 AND a.defaclnamespace = coalesce(n.oid, 0)
CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(a.defaclacl, CASE WHEN w.schema IS NULL
    THEN pg_catalog.acldefault(CASE w.kind WHEN 'S' THEN 's' ELSE w.kind END::"char", w.oid) END)) AS g
ORDER BY 1 NULLS FIRST, 2

-- name: usual_grants
SELECT
    CASE WHEN g.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(g.grantee) END AS grantee,
    g.privilege_type AS privilege, g.is_grantable AS grantable
FROM pg_catalog.pg_roles AS r
CROSS JOIN LATERAL pg_catalog.aclexplode(pg_catalog.acldefault(
    CASE %s WHEN 'S' THEN 's' WHEN 'r' THEN 'r' WHEN 'f' THEN 'f' WHEN 'T' THEN 'T'
    WHEN 'n' THEN 'n' ELSE 'L' END::"char", r.oid)) AS g
WHERE r.rolname = %s

-- name: may_create
SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')

-- name: roles_that_write
-- A role's own setting wins over the database's, which is the fence.
SELECT pg_catalog.pg_get_userbyid(s.setrole) AS role, s.setdatabase <> 0 AS only_here
FROM pg_catalog.pg_db_role_setting AS s
CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c(entry)
WHERE s.setrole <> 0
  AND s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database AS d
                            WHERE d.datname = pg_catalog.current_database()))
  AND c.entry ~* '^default_transaction_read_only='
  AND c.entry !~* '=(on|true|yes|1)$'
ORDER BY 1, 2

-- name: extensions
SELECT x.extname AS name, n.nspname AS schema, x.extversion AS version
FROM pg_catalog.pg_extension AS x JOIN pg_catalog.pg_namespace AS n ON n.oid = x.extnamespace
ORDER BY x.extname

-- name: may_be_created
-- Extensions that somebody who is no superuser, and may create in the database, can create.
SELECT DISTINCT v.name FROM pg_catalog.pg_available_extension_versions AS v
WHERE v.trusted OR NOT v.superuser ORDER BY v.name

-- name: members
-- Tables and sequences that extensions have made.
SELECT n.nspname AS schema, c.relname AS name
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_depend AS e
  ON e.classid = 'pg_catalog.pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
WHERE c.relkind IN ('r', 'p', 'S')

-- name: room_for_locks
SELECT pg_catalog.current_setting('max_locks_per_transaction')::bigint
    * (pg_catalog.current_setting('max_connections')::bigint
       + pg_catalog.current_setting('max_prepared_transactions')::bigint)

-- name: lock
-- The comment of the schema by which a restore in place keeps others out; NULL where none is at work.
SELECT pg_catalog.obj_description(n.oid, 'pg_namespace')
FROM pg_catalog.pg_namespace AS n WHERE n.nspname = %s

-- name: tables_of
SELECT c.relname FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind = 'r' ORDER BY c.relname

-- name: size_of
SELECT coalesce(pg_catalog.sum(pg_catalog.pg_total_relation_size(c.oid)), 0)::bigint
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%s) AND c.relkind IN ('r', 'm', 'S')

-- name: dependents
-- What stands outside of these schemas and would be dropped with them. Of views it is the rule that
-- depends, of defaults the expression: both are told as what they belong to. Schemas are compared as
-- `pg_identify_object` gives them, quoted where SQL needs it; an event trigger is in none.
WITH aside AS (SELECT pg_catalog.quote_ident(name) AS schema FROM pg_catalog.unnest(%s::text[]) AS name)
SELECT DISTINCT i.type || ' `' || i.identity || '`'
FROM pg_catalog.pg_depend AS d
CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.refclassid, d.refobjid, 0) AS r
CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) AS i
LEFT JOIN pg_catalog.pg_rewrite AS w
  ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND w.oid = d.objid
LEFT JOIN pg_catalog.pg_attrdef AS f
  ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND f.oid = d.objid
LEFT JOIN pg_catalog.pg_trigger AS g
  ON d.classid = 'pg_catalog.pg_trigger'::regclass AND g.oid = d.objid
LEFT JOIN pg_catalog.pg_policy AS p
  ON d.classid = 'pg_catalog.pg_policy'::regclass AND p.oid = d.objid
LEFT JOIN pg_catalog.pg_class AS c ON c.oid = coalesce(w.ev_class, f.adrelid, g.tgrelid, p.polrelid)
LEFT JOIN pg_catalog.pg_constraint AS k
  ON d.classid = 'pg_catalog.pg_constraint'::regclass AND k.oid = d.objid
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = coalesce(c.relnamespace, k.connamespace)
WHERE d.deptype IN ('n', 'a') AND d.refobjid >= 16384 AND r.schema IN (SELECT a.schema FROM aside AS a)
  AND d.classid <> 'pg_catalog.pg_extension'::regclass
  AND coalesce(pg_catalog.quote_ident(n.nspname), i.schema,
               CASE WHEN d.classid = 'pg_catalog.pg_event_trigger'::regclass THEN '' END)
      NOT IN (SELECT a.schema FROM aside AS a)
ORDER BY 1

-- name: marked
-- Schemas that are nothing of the application's: what runs have put aside, and the lock.
SELECT n.nspname FROM pg_catalog.pg_namespace AS n
WHERE pg_catalog.starts_with(
    coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), ''), '{"alexandria-backup"')
ORDER BY n.nspname
