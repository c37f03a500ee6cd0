"""A site whose role owns its database, and may do nothing else on the server."""

from site_support import Site

#: All that stands in `public`, given to the role of the site.
_OWN = """\
DO $$ DECLARE one record; BEGIN
FOR one IN SELECT c.oid::regclass AS name, c.relkind FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
    ORDER BY c.relkind = 'S' LOOP
    EXECUTE format('ALTER TABLE %%s OWNER TO %%I', one.name, '{role}');
END LOOP; END $$
"""


def without_administrator(site: Site) -> Site:
    """Let the role of a site own all that is in the database, and nobody stand behind it."""
    site.sql(_OWN.format(role=site.role))
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
