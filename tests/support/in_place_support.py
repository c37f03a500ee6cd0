"""A site whose role owns its database, and may do nothing else on the server."""

from shapes_support import SHAPES
from site_support import Site

#: All that stands in `public`, but for what an extension has made there, given to a role.
_OWN = """\
DO $$ DECLARE one record; BEGIN
FOR one IN SELECT i.type, i.identity
    FROM pg_depend AS d, pg_identify_object(d.classid, d.objid, 0) AS i
    WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = 'public'::regnamespace
      AND d.deptype = 'n' AND i.type <> 'extension'
      AND NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = d.classid
                      AND e.objid = d.objid AND e.deptype = 'e')
    ORDER BY i.type = 'sequence' LOOP
    EXECUTE format('ALTER %%s %%s OWNER TO %%I', one.type, one.identity, '{role}');
END LOOP; END $$
"""


def own_all(role: str) -> str:
    """Return the statement that gives a role all that stands in `public`."""
    return _OWN.format(role=role)


def without_administrator(site: Site) -> Site:
    """Let the role of a site own all that is in the database, and nobody stand behind it."""
    site.sql(own_all(site.role))
    text = site.config.read_text(encoding="utf-8")
    site.config.write_text(text.replace('admin_dsn_file = "admin-dsn"\n', ""), encoding="utf-8")
    return site


#: A range type brings functions that are the server's: who is no superuser cannot move them.
_NO_RANGE = (
    ("CREATE TYPE shop.span AS RANGE (subtype = float8);", ""),
    ("r shop.span", "r int4range"),
    ("'[1.5,2.5)'", "'[1,2)'"),
)


def everything(schema: str, *, ranges: bool = True) -> str:
    """Return the statements that make all that a schema may hold."""
    scripts = "\n".join(SHAPES.values())
    for before, after in () if ranges else _NO_RANGE:
        scripts = scripts.replace(before, after)
    scripts = scripts.replace('"Shop two"', f'"{schema} two"')
    return scripts.replace("shop.", f"{schema}.").replace("= shop", f"= {schema}")


def large_objects(site: Site, database: str | None = None) -> dict[int, str]:
    """A digest of every large object, with owner, comment and privileges."""
    rows = site.sql(
        "SELECT oid, concat_ws(' ', md5(lo_get(oid)), lomowner::regrole, lomacl, "
        "obj_description(oid, 'pg_largeobject')) FROM pg_largeobject_metadata",
        database=database,
    )
    return dict(rows)


def make_large_objects(site: Site) -> None:
    """Make three, the role's own: one empty, one of several pieces, one that others read."""
    site.sql("SELECT lo_create(4711), lo_from_bytea(4712, repeat('ab', 400000)::bytea)")
    site.sql("SELECT lo_from_bytea(4713, 'short')")
    for number in (4711, 4712, 4713):
        site.sql(f'ALTER LARGE OBJECT {number} OWNER TO "{site.role}"')
    site.sql("GRANT SELECT ON LARGE OBJECT 4713 TO pg_monitor WITH GRANT OPTION")
    site.sql("COMMENT ON LARGE OBJECT 4713 IS 'it''s short'")


def kept_schemas(site: Site) -> list[str]:
    """What runs have put aside in the site's database, and the lock."""
    rows = site.sql(
        "SELECT nspname FROM pg_namespace WHERE obj_description(oid, 'pg_namespace') "
        "LIKE '{\"alexandria-backup\"%%' ORDER BY 1"
    )
    return [name for (name,) in rows]


def reads_only(site: Site) -> bool:
    """Tell whether whoever connects to the site's database can only read there."""
    return bool(site.value("SHOW default_transaction_read_only") == "on")


def fingerprint_aside(site: Site) -> dict[str, str]:
    """The rows of what is put aside, under the names that its tables had."""
    aside = {
        name: name.partition("_alexandria_kept_")[0]
        for name in kept_schemas(site)
        if "_kept_" in name and not name.startswith("alexandria_")
    }
    return {
        f"{aside[schema]}.{table}": rows
        for schema, table, rows in site.fingerprints()
        if schema in aside
    }
