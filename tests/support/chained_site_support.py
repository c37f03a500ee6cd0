"""A site whose database has an audit chain."""

import secrets

from site_support import Site

from alexandria_backup.audit.discovery import discover_table
from alexandria_backup.audit.recipe import ALEXANDRIA_V1
from alexandria_backup.audit.writer import NewEntry, append
from alexandria_backup.postgres.connect import connect
from alexandria_backup.postgres.dsn import Dsn

#: What such a site has in its settings, before their first table.
CHAIN_SETTINGS = '[audit]\nkey_file = "audit.key"\nkey_encoding = "hex"\n'
CHAIN_ROWS = 20
_TABLE = """
CREATE TABLE public.audit_logs (
    id text PRIMARY KEY, principal text, action text, agent text, session text, metadata text,
    tenant_id text, hmac text, prev_hmac text, created_at timestamptz
)
"""


def fill_chain(site: Site) -> None:
    """Make the chain, and the file of its key."""
    key = secrets.token_bytes(32)
    site.write_secret("audit.key", key.hex())
    site.sql(_TABLE)
    site.sql(f'GRANT SELECT ON public.audit_logs TO "{site.role}"')
    with connect(Dsn.parse(site.server.conninfo(site.database)), purpose="test") as session:
        table = discover_table(session)
        assert table is not None
        for number in range(CHAIN_ROWS):
            entry = NewEntry(principal="ada", action="login", metadata=f'{{"n": {number}}}')
            append(session, table=table, recipe=ALEXANDRIA_V1, key=key, entry=entry)
