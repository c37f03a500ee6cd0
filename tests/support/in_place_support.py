"""A site whose role owns its database, and may do nothing else on the server."""

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
        if "_kept_" in name
    }
    return {
        f"{aside[schema]}.{table}": rows
        for schema, table, rows in site.fingerprints()
        if schema in aside
    }
