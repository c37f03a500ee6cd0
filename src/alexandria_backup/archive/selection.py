"""Some tables of an archive, with all that they need and nothing that reaches beyond them.

Entries name what they depend on, so what a table needs is found without parsing SQL: its schema,
types, functions, extensions, sequences. What belongs to it is found the other way round: entries of
certain kinds that depend on it and on no table that is not restored.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from alexandria_backup.archive.copy_text import columns_of
from alexandria_backup.archive.toc import TocEntry
from alexandria_backup.errors import UsageError

_RELATIONS: Final = frozenset({"TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE"})
#: Left out, and named, where they need another table.
_MAY_REACH_BEYOND: Final = {
    "FK CONSTRAINT": "foreign key",
    "TRIGGER": "trigger",
    "POLICY": "policy",
    "RULE": "rule",
}
#: A part of the tables, and of the other parts, that it depends on. SEQUENCE is an identity's.
_PARTS: Final = frozenset(
    {
        *("DEFAULT", "INDEX", "CONSTRAINT", "CHECK CONSTRAINT", "ROW SECURITY", "STATISTICS"),
        *("TABLE DATA", "SEQUENCE", "SEQUENCE OWNED BY", "INDEX ATTACH", "TABLE ATTACH"),
        *_MAY_REACH_BEYOND,
    }
)
#: Goes with whatever it depends on.
_ABOUT: Final = frozenset({"ACL", "COMMENT", "SECURITY LABEL", "SEQUENCE SET", "STATISTICS DATA"})
_AMBIGUOUS: Final = 2
#: What is read like a table, and has no rows in an archive.
_WITHOUT_ROWS: Final = _RELATIONS - {"TABLE"}
#: A name as SQL writes it: a quoted part may hold anything.
_SQL_NAME: Final = re.compile(r'(?:("(?:[^"]|"")+"|\w+)\.)?("(?:[^"]|"")+"|\w+)')


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What of an archive is restored."""

    #: The tables that were asked for, and their partitions, as `schema.name`.
    tables: tuple[str, ...]
    #: Numbers of the entries.
    entries: frozenset[int]
    #: One line for each thing of these tables that is left out, since it needs another table.
    left_out: tuple[str, ...]
    #: Tables and views that are created without rows, since something depends on their form.
    empty: tuple[str, ...]


def select_tables(entries: Sequence[TocEntry], names: Iterable[str]) -> Selection:
    """Return what restoring the tables of these names takes; a name is `schema.table` or `table`.

    A partitioned table comes with its partitions. Raises UsageError for a name that is none, that
    several schemas have, or whose rows are loaded through a table that is not asked for.
    """
    chosen: dict[int, TocEntry] = {}
    by_number = {entry.dump_id: entry for entry in entries}
    partitions = _partitions(entries, by_number)
    waiting = [_named(entries, name) for name in names]
    while waiting:
        table = waiting.pop(0)
        if table.dump_id not in chosen:
            chosen[table.dump_id] = table
            waiting.extend(partitions.get(table.dump_id, ()))
    _refuse_other_roots(entries, chosen)
    attached = frozenset(
        (child.dump_id, parent) for parent, found in partitions.items() for child in found
    )
    return _Selecting(
        entries=entries, by_number=by_number, chosen=chosen, attached=attached
    ).selection()


def _named(entries: Sequence[TocEntry], name: str) -> TocEntry:
    tables = [entry for entry in entries if entry.description == "TABLE"]
    found = _called(tables, name)
    if not found:
        _refuse_view(entries, name)
    if len(found) >= _AMBIGUOUS:
        labels = ", ".join(f"`{_label(table)}`" for table in found)
        raise UsageError(f"`{name}` may be any of {labels}", hint=_hint(_label(found[0])))
    if not found:
        known = {_label(table): _label(table) for table in tables}
        known |= {table.tag: _label(table) for table in reversed(tables)}
        near = get_close_matches(name, known, n=1)
        raise UsageError(
            f"the archive has no table `{name}`"
            + (f"; the nearest is `{known[near[0]]}`" if near else ""),
            hint=_hint(known[near[0]]) if near else "alexandria snapshot show …",
        )
    return found[0]


def _called(relations: Sequence[TocEntry], name: str) -> list[TocEntry]:
    """Return what is called so: as people write it, or else as SQL writes it, with its quotes."""
    found = [entry for entry in relations if name in (_label(entry), entry.tag)]
    # `a.b` may be a table `b` in schema `a`, and a table of that very name elsewhere.
    found = [entry for entry in found if name == _label(entry)] or found
    if found or (sql := _SQL_NAME.fullmatch(name)) is None:
        return found
    schema, tag = (_unquoted(part) for part in sql.groups())
    return [e for e in relations if e.tag == tag and schema in (None, e.namespace)]


def _unquoted(part: str | None) -> str | None:
    if part is None or not part.startswith('"'):
        return part and part.lower()
    return part[1:-1].replace('""', '"')


def _refuse_view(entries: Sequence[TocEntry], name: str) -> None:
    """Raise UsageError where the name is that of something without rows of its own."""
    found = _called([entry for entry in entries if entry.description in _WITHOUT_ROWS], name)
    if not found:
        return
    by_number = {entry.dump_id: entry for entry in entries}
    read: dict[int, TocEntry] = {}
    waiting = [found[0]]
    while waiting:
        for number in waiting.pop().dependencies:
            entry = by_number.get(number)
            if entry is not None and number not in read:
                read[number] = entry
                waiting += [entry] if entry.description in _WITHOUT_ROWS else []
    tables = [entry for entry in read.values() if entry.description == "TABLE"]
    raise UsageError(
        f"`{_label(found[0])}` is a {found[0].description.lower()}, and only tables have rows to "
        "restore",
        hint=" ".join(map(_hint, sorted(map(_label, tables))))
        or "restore the whole snapshot with `--to-database`",
    )


def _hint(label: str) -> str:
    return shlex.join(("--table", label))


def _partitions(
    entries: Sequence[TocEntry], by_number: Mapping[int, TocEntry]
) -> dict[int, list[TocEntry]]:
    """Return the partitions of each partitioned table, by its number."""
    found: dict[int, list[TocEntry]] = {}
    for entry in entries:
        if entry.description != "TABLE ATTACH":
            continue
        tables = [by_number[n] for n in entry.dependencies if n in by_number]
        # The entry is called as the partition is, which alone tells it from its parent.
        name = (entry.namespace, entry.tag)
        mine = [table for table in tables if (table.namespace, table.tag) == name]
        for parent in tables:
            if parent not in mine:
                found.setdefault(parent.dump_id, []).extend(mine)
    return found


def _refuse_other_roots(entries: Sequence[TocEntry], chosen: Mapping[int, TocEntry]) -> None:
    labels = {_label(table) for table in chosen.values()}
    for entry in entries:
        if entry.description != "TABLE DATA" or entry.copy_statement is None:
            continue
        target = columns_of(entry.copy_statement)
        root = f"{target.schema or entry.namespace}.{target.table}"
        if _label(entry) in labels and root not in labels:
            raise UsageError(
                f"the rows of `{_label(entry)}` are loaded through `{root}`",
                hint=_hint(root),
            )


def selected(entries: Sequence[TocEntry], names: Sequence[str]) -> tuple[TocEntry, ...]:
    """Return the entries that restoring these tables takes; all of them where none is named."""
    if not names:
        return tuple(entries)
    numbers = select_tables(entries, names).entries
    return tuple(entry for entry in entries if entry.dump_id in numbers)


@dataclass(kw_only=True)
class _Selecting:
    entries: Sequence[TocEntry]
    by_number: Mapping[int, TocEntry]
    chosen: Mapping[int, TocEntry]
    #: Partition and parent.
    attached: frozenset[tuple[int, int]]
    kept: set[int] = field(default_factory=set)
    left_out: dict[int, str] = field(default_factory=dict)

    def selection(self) -> Selection:
        for number in self.chosen:
            self.kept |= self._needs(number)
        before = -1
        # What a part needs may have parts of its own, which stand earlier in the archive.
        while before != len(self.kept):
            before = len(self.kept)
            for entry in self.entries:
                self._consider(entry)
        return Selection(
            tables=tuple(map(_label, self.chosen.values())),
            entries=frozenset(self.kept),
            left_out=tuple(self.left_out.values()),
            empty=tuple(
                _label(entry)
                for entry in self.entries
                if entry.dump_id in self.kept and self._is_foreign(entry)
            ),
        )

    def _consider(self, entry: TocEntry) -> None:
        if entry.dump_id in self.kept:
            return
        known = [self.by_number[n] for n in entry.dependencies if n in self.by_number]
        if entry.description in _ABOUT:
            if known and all(e.dump_id in self.kept and not self._is_foreign(e) for e in known):
                self.kept.add(entry.dump_id)
            return
        of = [e for e in known if e.description in _RELATIONS or e.description in _PARTS]
        if entry.description not in _PARTS or not any(e.dump_id in self.kept for e in of):
            return
        needs = self._needs(entry.dump_id)
        beyond = [e for e in of if e.description != "SEQUENCE" and not self._is_whole(e)]
        if entry.description in _MAY_REACH_BEYOND:
            beyond += [e for n in needs - self.kept if self._is_foreign(e := self.by_number[n])]
        if beyond:
            self._leave_out(entry)
        else:
            self.kept |= needs

    def _leave_out(self, entry: TocEntry) -> None:
        """Say so where it is of a table that was asked for: its tag begins with the table's."""
        kind = _MAY_REACH_BEYOND.get(entry.description)
        for table in self.chosen.values():
            prefix = f"{table.tag} "
            if kind and entry.namespace == table.namespace and entry.tag.startswith(prefix):
                name = entry.tag.removeprefix(prefix)
                self.left_out[entry.dump_id] = f"{kind} `{name}` of `{_label(table)}`"

    def _needs(self, number: int) -> set[int]:
        """Return the numbers of an entry and of all that it cannot be created without."""
        found: set[int] = set()
        waiting = [number]
        while waiting:
            number = waiting.pop()
            if number in self.by_number and number not in found:
                found.add(number)
                waiting.extend(
                    other
                    for other in self.by_number[number].dependencies
                    # A partition is created by itself, and attached later.
                    if (number, other) not in self.attached
                )
        return found

    def _is_whole(self, entry: TocEntry) -> bool:
        return entry.dump_id in self.kept and not self._is_foreign(entry)

    def _is_foreign(self, entry: TocEntry) -> bool:
        return entry.description in _RELATIONS and entry.dump_id not in self.chosen


def _label(entry: TocEntry) -> str:
    return f"{entry.namespace or ''}.{entry.tag}"
