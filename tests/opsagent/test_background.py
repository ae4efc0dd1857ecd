"""Threads beside the requests: one when it is wanted, another in a forked child, a last step at the end."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from opsagent.background import Background

ROOT = Path(__file__).resolve().parents[2]


class Steps:
    """A background that counts its steps, and waits between them until it is nudged."""

    def __init__(self) -> None:
        self.taken = threading.Semaphore(0)
        self.threads: list[threading.Thread] = []
        self.background = Background("steps", self.step, begin_anew=lambda: None)

    def step(self) -> None:
        self.threads.append(threading.current_thread())
        self.taken.release()


def test_one_thread_takes_every_step() -> None:
    steps = Steps()
    for _ in range(3):
        steps.background.start()
        steps.background.nudge()
        assert steps.taken.acquire(timeout=10)
    steps.background.stop()
    assert len(set(steps.threads)) == 1


def test_it_waits_as_long_as_it_was_told() -> None:
    steps = Steps()
    steps.background.start(after=3600)
    assert not steps.taken.acquire(timeout=0.1)
    steps.background.nudge()
    assert steps.taken.acquire(timeout=10)
    steps.background.stop()


def test_it_takes_a_last_step_when_it_is_stopped_and_starts_again() -> None:
    steps = Steps()
    steps.background.stop()
    assert steps.threads == []
    steps.background.start(after=3600)
    steps.background.stop()
    assert len(steps.threads) == 1
    steps.background.start()
    assert steps.taken.acquire(timeout=10)
    steps.background.stop()
    assert len(set(steps.threads)) == 2


def test_a_forked_child_has_a_thread_of_its_own_and_both_do_what_is_left_at_the_end() -> None:
    """In a process of its own: whoever forks one with other threads in it risks their locks."""
    program = """
import os, sys, threading
from opsagent.background import Background
took = threading.Semaphore(0)
say = lambda word: os.write(1, f"{word} {'child' if os.getpid() != parent else 'parent'}\\n".encode())
parent = os.getpid()
def step():
    say("step"); took.release()
background = Background("steps", step, begin_anew=lambda: say("anew"), at_exit=lambda: say("last"))
background.start(); took.acquire()
child = os.fork()
background.start()
if child == 0:
    took.acquire()
    sys.exit()
os.waitpid(child, 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=dict(os.environ), check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [
        "step parent", "anew child", "step child", "last child", "last parent"
    ]  # fmt: skip
