"""Writing stored secrets again with the first of ENCRYPTION_KEYS, while everybody goes on reading and writing them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db import connection, models, transaction

from opsagent.encryption import DecryptionError, bound_to, decrypt, encrypt, fields_of, is_current


@dataclass(frozen=True, slots=True)
class Step:
    """What a step found: how many rows it looked at, and the keys of those that an older key has written."""

    seen: int
    stale: list[Any]


@dataclass(slots=True)
class Rewritten:
    """What became of rows: values written anew, rows that somebody held, rows that none of the keys can read."""

    values: int = 0
    held: list[Any] = field(default_factory=list)
    unreadable: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Secrets:
    """The encrypted columns of one model."""

    model: type[models.Model]
    names: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the encrypted columns, quoted."""
        return tuple(map(connection.ops.quote_name, self.names))

    @property
    def table(self) -> str:
        """The name of the table, quoted."""
        return connection.ops.quote_name(self.model._meta.db_table)  # noqa: SLF001 (Django's public way to a table)

    @property
    def key(self) -> str:
        """The name of the primary key's column, quoted."""
        return connection.ops.quote_name(str(self.model._meta.pk.column))  # noqa: SLF001 (the same)

    def steps(self, size: int) -> Iterator[Step]:
        """Look at all rows in the order of their keys, `size` at a time, and lock none."""
        after = None
        while True:
            where = "" if after is None else f"WHERE {self.key} > %s"
            rows = _select(
                f"SELECT {self.key}, {', '.join(self.columns)} FROM {self.table} {where} ORDER BY {self.key} LIMIT %s",  # noqa: S608 (our own names)
                [size] if after is None else [after, size],
            )
            if not rows:
                return
            after = rows[-1][0]
            yield Step(len(rows), [row[0] for row in rows if not all(self._done(row[0], row[1:]))])

    def rewrite(self, keys: Sequence[Any]) -> Rewritten:
        """Write rows anew with the first key.

        Each is read under its lock, so that a value which somebody has just written is never replaced by an older one.
        Waits for nobody: rows that are held come back as such.
        """
        done = Rewritten()
        with transaction.atomic():
            rows = _select(
                f"SELECT {self.key}, {', '.join(self.columns)} FROM {self.table} WHERE {self.key} = ANY(%s) "  # noqa: S608 (our own names)
                f"ORDER BY {self.key} FOR NO KEY UPDATE SKIP LOCKED",
                [list(keys)],
            )
            for key, *values in rows:
                try:
                    fresh = self._fresh(key, values)
                except DecryptionError:
                    done.unreadable.append(key)
                    continue
                changed = sum(new is not old for new, old in zip(fresh, values, strict=True))
                if changed:
                    assignments = ", ".join(f"{column} = %s" for column in self.columns)
                    with connection.cursor() as cursor:
                        cursor.execute(
                            f"UPDATE {self.table} SET {assignments} WHERE {self.key} = %s",  # noqa: S608 (our own names)
                            [*fresh, key],
                        )
                    done.values += changed
            done.held = sorted(set(keys) - {row[0] for row in rows} - self._gone(keys))
        return done

    def _fresh(self, key: object, values: Sequence[Any]) -> list[Any]:
        """Return a row's values as the first key writes them; those that it has written are left as they are."""
        return [
            value if is_done else encrypt(decrypt(bytes(value), place), place)
            for value, is_done, place in zip(values, self._done(key, values), self._places(key), strict=True)
        ]

    def _done(self, key: object, values: Sequence[Any]) -> list[bool]:
        """Tell of each of a row's values whether there is nothing to do."""
        pairs = zip(values, self._places(key), strict=True)
        return [value is None or is_current(bytes(value), place) for value, place in pairs]

    def _places(self, key: object) -> list[bytes]:
        return [bound_to(self.model._meta.db_table, name, key) for name in self.names]  # noqa: SLF001 (the same)

    def _gone(self, keys: Sequence[Any]) -> set[Any]:
        there = _select(f"SELECT {self.key} FROM {self.table} WHERE {self.key} = ANY(%s)", [list(keys)])  # noqa: S608 (our own names)
        return set(keys) - {key for (key,) in there}


def secrets() -> list[Secrets]:
    """Return every model that has encrypted columns."""
    found = [(model, tuple(str(field.column) for field in fields_of(model))) for model in apps.get_models()]
    return [Secrets(model, names) for model, names in found if names]


def _select(sql: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
