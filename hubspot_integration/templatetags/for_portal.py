"""`{% for_portal %}`: the field by which a form says for which portal its page was drawn."""

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from hubspot_integration import access

register = template.Library()


@register.simple_tag(takes_context=True)
def for_portal(context: dict[str, Any]) -> SafeString:
    """Return the hidden field; it belongs beside `{% csrf_token %}` in every form that posts to the settings."""
    return format_html('<input type="hidden" name="{}" value="{}">', access.FIELD, context["signed_in"].portal_id)
