"""Owners that a restore changes or creates: other names for those of the archive, missing roles."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import ClassVar

from alexandria_backup.errors import UsageError
from alexandria_backup.events import Warned
from alexandria_backup.postgres.database import DatabaseFacts
from alexandria_backup.postgres.roles import create_role, drop_role
from alexandria_backup.runbooks.restore_parts import RestoreParts
from alexandria_backup.runbooks.restore_state import RestoreState, Source
from alexandria_backup.runbooks.step import Done, Explanation, shell


@dataclass(frozen=True, kw_only=True)
class CreateRoles:
    """Create the roles that the archive needs and the server lacks."""

    name: ClassVar[str] = "create-roles"
    changes: ClassVar[bool] = True

    parts: RestoreParts

    def explain(self, state: RestoreState) -> Explanation:
        """Name them."""
        names = state.roles_to_create
        if not names:
            return Explanation(sentence="nothing: every role that is needed is there")
        listed = ", ".join(f"`{name}`" for name in names)
        return Explanation(
            sentence=f"create roles without login and password: {listed}",
            commands=tuple(shell("createuser", "--no-login", name) for name in names),
        )

    def do(self, state: RestoreState) -> Done[RestoreState]:
        """Create those that are not there; each says which run has made it."""
        with self.parts.servers.maintenance() as maintenance:
            for name in state.roles_to_create:
                create_role(maintenance, name, run=state.run)
        return Done(state, ", ".join(f"`{name}`" for name in state.roles_to_create) or "none")

    def undo(self, state: RestoreState) -> RestoreState:
        """Drop those of this run on which nothing depends."""
        with self.parts.servers.maintenance() as maintenance:
            stay = [
                name
                for name in state.roles_to_create
                if not drop_role(maintenance, name, run=state.run)
            ]
        for name in stay:
            self.parts.emit(Warned(message=f"role `{name}` stays: something depends on it"))
        return state


def with_other_owners(source: Source, names: Mapping[str, str]) -> Source:
    """Return the source with the owners that its objects will have."""

    def of(role: str) -> str:
        return names.get(role, role)

    return source.model_copy(
        update={
            "roles": tuple(sorted({of(role) for role in source.roles})),
            "ownerships": tuple(
                item._replace(
                    owner=of(item.owner),
                    schema_owner=None if item.schema_owner is None else of(item.schema_owner),
                )
                for item in source.ownerships
            ),
        }
    )


def facts_with_other_owners(facts: DatabaseFacts, names: Mapping[str, str]) -> DatabaseFacts:
    """Return the facts of a database of the archive with the roles that it will have."""

    def of(role: str | None) -> str | None:
        return None if role is None else names.get(role, role)

    return replace(
        facts,
        owner=names.get(facts.owner, facts.owner),
        # Two roles that become one may both have had the same right.
        grants=tuple(dict.fromkeys(replace(g, grantee=of(g.grantee)) for g in facts.grants)),
        settings=tuple(replace(item, role=of(item.role)) for item in facts.settings),
    )


def refuse_unknown_owners(
    source: Source, facts: DatabaseFacts | None, names: Mapping[str, str]
) -> None:
    """Raise UsageError for an old name that nothing belongs to: it is misspelt.

    `facts` are those of the database where it is made as in the archive.
    """
    roles = set(source.roles)
    if facts is not None:
        named = (facts.owner, *(g.grantee for g in facts.grants), *(s.role for s in facts.settings))
        roles |= {role for role in named if role is not None}
    for name in sorted(set(names) - roles):
        near = get_close_matches(name, sorted(roles), n=1)
        raise UsageError(
            f"role `{name}` owns nothing in `{source.snapshot}` and is granted nothing there"
            + (f"; the nearest is `{near[0]}`" if near else ""),
            hint=f"--map-owner '{near[0] if near else 'OLD'}={names[name]}'",
        )
