"""Browser sessions of portal admins and support staff: an hour without use ends them, and eight hours end them in any case.

Both ends stand in `expire_date` of the session's row, so that an ended session is not found, and whoever deletes what has
expired deletes exactly those. Using a session moves the date, at most once a minute and in a statement of its own: two
requests of one browser never overwrite each other's session for it.
"""

import datetime as dt
from typing import Any, Final

from django.conf import settings
from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.utils import timezone

IDLE: Final = dt.timedelta(minutes=60)
LONGEST: Final = dt.timedelta(seconds=settings.SESSION_COOKIE_AGE)
_MOVED_EVERY: Final = dt.timedelta(minutes=1)
_BEGAN: Final = "_began_at"


class SessionStore(db.SessionStore):
    """A session in the database with two ends: `IDLE` after its last use, `LONGEST` after it began."""

    def load(self) -> dict[str, Any]:
        """Return what is kept in a session that has not ended; that it is asked for is its use."""
        now, key = timezone.now(), self.session_key or ""
        # A cookie can hold what no key of ours does, and PostgreSQL takes no text with a NUL in it.
        row = Session.objects.filter(session_key=key, expire_date__gt=now).first() if key.isalnum() else None
        if row is None:
            self._session_key = None
            return {}
        data = self.decode(row.session_data)
        # The first release kept eight hours from the last change, and no beginning.
        began = data.setdefault(_BEGAN, (row.expire_date - LONGEST).timestamp())
        end = _end(began, now)
        if end <= now:
            self._session_key = None
            return {}
        if abs(end - row.expire_date) >= _MOVED_EVERY:
            Session.objects.filter(session_key=key).update(expire_date=end)
        return data

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        """Return the row that is to be saved."""
        now = timezone.now()
        data = {_BEGAN: now.timestamp(), **data}
        return Session(
            session_key=self._get_or_create_session_key(),  # type: ignore[attr-defined]  # the stubs lack it
            session_data=self.encode(data),
            expire_date=_end(data[_BEGAN], now),
        )


def delete_ended(*, now: dt.datetime, limit: int) -> int:
    """Delete some sessions that have ended; return how many. Call it until that is 0."""
    ended = Session.objects.filter(expire_date__lt=now).order_by("expire_date").values_list("pk", flat=True)[:limit]
    return Session.objects.filter(pk__in=list(ended), expire_date__lt=now).delete()[0]


def _end(began: float, now: dt.datetime) -> dt.datetime:
    return min(now + IDLE, dt.datetime.fromtimestamp(began, tz=dt.UTC) + LONGEST)
