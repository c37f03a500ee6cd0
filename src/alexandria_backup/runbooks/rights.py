"""What our role must be allowed on the server, and which roles must exist, before a restore."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from alexandria_backup.errors import RightsMissing, RolesMissing
from alexandria_backup.postgres.activity import other_sessions
from alexandria_backup.postgres.connect import Session
from alexandria_backup.postgres.database import DatabaseFacts, database_facts
from alexandria_backup.postgres.server import RoleFacts, ServerFacts, roles, strangers
from alexandria_backup.runbooks.restore_state import Source
from alexandria_backup.runbooks.step import shell

#: From this major version on only the database's owner creates in a new database's `public`.
_CLOSED_PUBLIC = 15


def refuse_missing_rights(
    role: RoleFacts,
    maintenance: Session,
    target: str,
    *,
    renames: bool = True,
    otherwise: str = "",
) -> None:
    """The role must create a database, and own the live one where it `renames` that.

    `otherwise` is what can be done besides where it may create none, for the hint.
    """
    if role.superuser:
        return
    if not role.create_database:
        raise RightsMissing(
            f"role `{role.name}` may not create databases, so nothing can be restored beside "
            f"`{target}`",
            hint=f"psql -c 'alter role \"{role.name}\" createdb'   "
            f"# or set `[database] admin_dsn_file`{otherwise}",
        )
    facts = database_facts(maintenance, target) if renames else None
    if facts is not None and facts.owner not in {role.name, *role.member_of}:
        raise RightsMissing(
            f"role `{role.name}` does not own `{target}` (`{facts.owner}` does), "
            "so it may not rename it",
            hint="set `[database] admin_dsn_file` to the DSN of the owner or a superuser",
        )


def refuse_foreign_sessions(maintenance: Session, target: str) -> None:
    """Every session in the live database must be one that our role may end."""
    held = [session for session in other_sessions(maintenance, target) if not session.may_terminate]
    if held:
        raise RightsMissing(
            f"{held[0]} is in `{target}`, and our role may not end it"
            + (f"; so are {len(held) - 1} more" if len(held) > 1 else ""),
            hint="psql -c 'grant pg_signal_backend to …'   # or set `[database] admin_dsn_file`",
        )


def missing_roles(
    maintenance: Session, source: Source, facts: DatabaseFacts | None
) -> tuple[str, ...]:
    """Return the roles that own or may use something and that the server does not have, sorted."""
    return tuple(sorted(set(_roles(source, facts)) - roles(maintenance)))


def refuse_missing_roles(source: Source, missing: Sequence[str]) -> None:
    """Owners and grantees must exist, unless neither is restored."""
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        raise RolesMissing(
            f"roles that own or may use what is in `{source.snapshot}` do not exist: {names}",
            hint="add `--create-roles`, `--map-owner OLD=NEW` or `--no-owner`",
        )


def refuse_uncreatable_roles(role: RoleFacts, missing: Sequence[str]) -> None:
    """The role must be able to create those that are missing; nobody can create a system's."""
    predefined = [name for name in missing if name.startswith("pg_")]
    if predefined:
        raise RolesMissing(
            f"role `{predefined[0]}` is predefined in other versions of PostgreSQL, and nobody "
            "can create it",
            hint=f"--map-owner '{predefined[0]}=…'   # or `--no-owner`",
        )
    if missing and not role.create_role:
        raise RightsMissing(
            f"role `{role.name}` may not create roles, and `{missing[0]}` is missing",
            hint="set `[database] admin_dsn_file`, or leave out `--create-roles`",
        )


def refuse_unknown_new_owners(maintenance: Session, names: Mapping[str, str]) -> None:
    """Whoever is to own something instead of another must exist."""
    known = roles(maintenance)
    for old, new in sorted(names.items()):
        if new not in known:
            near = get_close_matches(new, known, n=1)
            raise RolesMissing(
                f"there is no role `{new}` to own what belongs to `{old}`"
                + (f"; the nearest is `{near[0]}`" if near else ""),
                hint=shell("createuser", "--no-login", new),
            )


def refuse_foreign_owners(
    maintenance: Session,
    role: RoleFacts,
    server: ServerFacts,
    source: Source,
    facts: DatabaseFacts | None,
    *,
    created: Sequence[str] = (),
) -> None:
    """What is loaded is given to its owners: the role must be able to, and they to own there.

    `created` are roles that will be there, of which ours will be a member.
    """
    if role.superuser:
        return
    known = {role.name, *role.may_become, *created}
    foreign = sorted({item.owner for item in source.ownerships} - known)
    if foreign:
        names = ", ".join(f"`{name}`" for name in foreign)
        raise RightsMissing(
            f"role `{role.name}` may not give what is in `{source.snapshot}` to its owners: "
            f"{names}",
            hint=f'psql -c \'grant "{foreign[0]}" to "{role.name}"\'   '
            "# or set `[database] admin_dsn_file`, or add `--no-owner`",
        )
    owner_of_public = facts.owner if facts and server.major >= _CLOSED_PUBLIC else None
    pairs = {
        (item.owner, of)
        for item in source.ownerships
        if (of := item.schema_owner or (owner_of_public if item.schema == "public" else None))
    }
    # A role that is not there yet has nobody's rights but its own.
    new = [pair for pair in sorted(pairs) if pair[0] in created and pair[0] != pair[1]]
    for owner, of in (*new, *strangers(maintenance, sorted(pairs))):
        raise RightsMissing(
            f"`{owner}` may not own anything in a schema of `{of}`, and role `{role.name}` is no "
            "superuser, who could give it to him all the same",
            hint="set `[database] admin_dsn_file` to the DSN of a superuser, or add `--no-owner`",
        )


def _roles(source: Source, facts: DatabaseFacts | None) -> Iterator[str]:
    yield from source.roles
    if facts is not None:
        yield facts.owner
        yield from (grant.grantee for grant in facts.grants if grant.grantee)
        yield from (setting.role for setting in facts.settings if setting.role)
