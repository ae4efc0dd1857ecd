"""What waits in the broker for a worker."""

from typing import cast

from opsagent import broker


def queued(task: str) -> list[bytes]:
    """Return the messages for a task. Others may be there: each process wakes workers from a thread, in its own time."""
    messages = cast("list[bytes]", broker.redis().lrange("celery", 0, -1))
    return [message for message in messages if f'"{task}"'.encode() in message]
