"""Writing stored secrets again with the first of ENCRYPTION_KEYS, while everybody goes on reading and writing them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db import connection, models, transaction

from opsagent.encryption import DecryptionError, EncryptedTextField, decrypt, encrypt, is_current


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
    columns: tuple[str, ...]

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
            yield Step(len(rows), [row[0] for row in rows if not all(map(_is_done, row[1:]))])

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
                    fresh = [value if _is_done(value) else encrypt(decrypt(bytes(value))) for value in values]
                except DecryptionError:
                    done.unreadable.append(key)
                    continue
                changed = sum(not _is_done(value) for value in values)
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

    def _gone(self, keys: Sequence[Any]) -> set[Any]:
        there = _select(f"SELECT {self.key} FROM {self.table} WHERE {self.key} = ANY(%s)", [list(keys)])  # noqa: S608 (our own names)
        return set(keys) - {key for (key,) in there}


def secrets() -> list[Secrets]:
    """Return every model that has encrypted columns."""
    found = []
    for model in apps.get_models():
        columns = tuple(
            connection.ops.quote_name(str(field.column))
            for field in model._meta.concrete_fields  # noqa: SLF001 (Django's public way to the fields)
            if isinstance(field, EncryptedTextField)
        )
        if columns:
            found.append(Secrets(model, columns))
    return found


def _select(sql: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def _is_done(value: Any) -> bool:
    return value is None or is_current(bytes(value))
