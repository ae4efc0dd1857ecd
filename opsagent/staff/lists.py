"""What the address of an admin page may say: the filters that its list offers, with values that can be.

Django lets whoever sees a list filter it by every column and lookup there is (`?digest__gt=a`), which answers questions about
columns that are not shown, and passes some values on that only the database refuses. It holds for every admin of the
site, those of libraries too.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.contrib.admin.utils import get_fields_from_path
from django.core.exceptions import BadRequest, ValidationError
from django.db.models import DateField, DateTimeField, Field
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest, HttpResponse
from django.utils.timezone import is_naive

if TYPE_CHECKING:
    _ModelAdmin = ModelAdmin[Any]
else:
    _ModelAdmin = object

LONGEST_VALUE: Final = 2000
"""Characters of one value in an address. A search for several sealed e-mail addresses stays below."""
_OF_FILTERS: Final = frozenset({"", "exact", "isnull", "gte", "lt", "id__exact", "pk__exact"})
_OF_HIERARCHIES: Final = {"year": (1, 9998), "month": (1, 12), "day": (1, 31)}  # Django looks at the year behind too


class _Guarded(_ModelAdmin):
    """Comes before an admin's own class."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Whether a filter of the list, or its date hierarchy, may ask for this value."""
        if lookup in self._names(request):
            return True
        for path in self._paths(request):
            suffix = lookup.removeprefix(path).removeprefix(LOOKUP_SEP)
            if lookup.startswith(path) and suffix in _OF_FILTERS:
                return suffix == "isnull" or _can_be(get_fields_from_path(self.model, path)[-1], value)
        hierarchy, _, part = lookup.rpartition(LOOKUP_SEP)
        if hierarchy == self.date_hierarchy and part in _OF_HIERARCHIES:
            lowest, highest = _OF_HIERARCHIES[part]
            return value.isascii() and value.isdigit() and len(value) < 5 and lowest <= int(value) <= highest  # noqa: PLR2004
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Refuse rows that cannot be before an action looks for them."""
        for chosen in request.POST.getlist("_selected_action"):
            if not _can_be(self.opts.pk, chosen):
                raise BadRequest("A chosen row cannot be.")
        return super().changelist_view(request, extra_context)

    def _names(self, request: HttpRequest | None) -> set[str]:
        return {
            str(one.parameter_name)
            for one in self.get_list_filter(request)  # type: ignore[arg-type]
            if isinstance(one, type) and issubclass(one, SimpleListFilter)
        }

    def _paths(self, request: HttpRequest | None) -> Iterator[str]:
        for one in self.get_list_filter(request):  # type: ignore[arg-type]
            path = one[0] if isinstance(one, list | tuple) else one
            if isinstance(path, str):
                yield path
        if self.date_hierarchy:
            yield self.date_hierarchy


def guarded(admin_class: "type[ModelAdmin[Any]]") -> "type[ModelAdmin[Any]]":
    """Return an admin's class with the guard in front."""
    return type(admin_class.__name__, (_Guarded, admin_class), {"__module__": admin_class.__module__})


def refuse_what_no_value_can_be(request: HttpRequest, *of_path: object) -> None:
    """Raise BadRequest for NUL anywhere (PostgreSQL has no such text) and for values longer than any that is right."""
    in_address = [text for name, values in request.GET.lists() for text in (name, *values)]
    if any(len(text) > LONGEST_VALUE for text in in_address):
        raise BadRequest("A value in the address is too long.")
    in_form = [text for name, values in request.POST.lists() for text in (name, *map(str, values))]
    if any("\0" in str(text) for text in (*in_address, *in_form, *of_path)):
        raise BadRequest("A value holds a NUL character.")


def _can_be(field: "Field[Any, Any] | Any", value: str) -> bool:
    """Whether a column can hold what was sent."""
    field = getattr(field, "target_field", field)
    try:
        found = field.to_python(value)
        if isinstance(field, DateTimeField) and is_naive(found):
            return False
        if isinstance(field, DateField) and not 1 < found.year < 9999:  # noqa: PLR2004 (or time zones lead out of all time)
            return False
        field.get_prep_value(found)
    except (ValidationError, ValueError, TypeError, OverflowError, AttributeError):
        return False
    return True
