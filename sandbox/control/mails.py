"""Control API: the mailbox. All below ``/sandbox/api``.

======================  ==========================================================================================
GET    /mails           ``?to=&since=&limit=&offset=``, newest first; ``to`` is part of a recipient's address,
                        ``since`` epoch milliseconds: ``{total, connections, mails: [Mail]}``. ``connections`` counts
                        SMTP connections since the mailbox was last cleared; a Mail names its own
GET    /mails/{mailId}  Mail with text, html, headers and raw
DELETE /mails           204
======================  ==========================================================================================
"""

from typing import Any

from starlette.routing import BaseRoute

from sandbox.control.fields import BadInputError, Command, no_content, route
from sandbox.control.shaping import mail_shape

MAX_MAILS = 100_000


def routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        route("/mails", "GET", list_mails),
        route("/mails", "DELETE", clear_mails),
        route("/mails/{mail_id:int}", "GET", get_mail),
    ]


async def list_mails(command: Command) -> Any:
    """Answer messages, newest first."""
    fields, hubspot = command.fields, command.hubspot
    recipient, since = fields.text("to", ""), fields.integer("since", 0) / 1000
    limit, offset = fields.integer("limit", 100, low=1, high=MAX_MAILS), fields.integer("offset", 0)
    fields.end()
    found = hubspot.mailbox.search(recipient, since)
    return {
        "total": len(found),
        "connections": hubspot.mailbox.connections,
        "mails": [mail_shape(mail) for mail in found[offset : offset + limit]],
    }


async def get_mail(command: Command) -> Any:
    """Answer one message with its parts."""
    mail = command.hubspot.mailbox.mails.get(command.path["mail_id"])
    if mail is None:
        raise BadInputError("mailId", "There is no such message", 404)
    return mail_shape(mail, with_parts=True)


async def clear_mails(command: Command) -> Any:
    """Throw all messages away."""
    command.hubspot.mailbox.clear()
    return no_content()
