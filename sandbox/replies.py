"""JSON replies."""

from typing import Any

import orjson
from starlette.responses import Response


class JSONReply(Response):
    """A reply whose content is written by orjson."""

    media_type = "application/json"
    charset = "utf-8"

    def render(self, content: Any) -> bytes:
        """Return the content as JSON."""
        return orjson.dumps(content)
