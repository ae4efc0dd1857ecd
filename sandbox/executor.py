"""The workflow engine: runs enrolled contacts through the steps and calls the app as HubSpot does.

https://developers.hubspot.com/docs/api-reference/latest/automation/workflow-actions/custom-action-reference
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Coroutine, Mapping, Sequence
from http import HTTPStatus
from itertools import count
from typing import Any

from sandbox.accounts import Contact, Portal
from sandbox.bursts import Burst
from sandbox.executions import TIMED_OUT_LINE, Attempt, Completion, Effect, Enrolment, Execution, State, check_outputs
from sandbox.options import Options
from sandbox.outgoing import NoAnswerError, Outgoing, compact_json
from sandbox.payloads import execution_request
from sandbox.project import Project, WorkflowAction
from sandbox.times import duration, now
from sandbox.workflows import Workflow

DEFAULT_BLOCK_SECONDS = 7 * 86_400.0
RETRY_FOR_SECONDS = 3 * 86_400.0
MIN_RETRY_GAP_SECONDS = 0.01
MAX_RETRY_GAP_SECONDS = 8 * 3_600.0


class Executor:
    """Run executions, at most so many at a time for each portal, and take their completions."""

    def __init__(self, portals: Mapping[int, Portal], project: Project, options: Options, outgoing: Outgoing) -> None:
        self._portals = portals
        self._project = project
        self._options = options
        self._outgoing = outgoing
        self._ids = count(56_776_413_549)
        self._tasks: set[asyncio.Task[object]] = set()
        self._slots: dict[int, asyncio.Semaphore] = {}
        self._blocked: dict[str, asyncio.Future[dict[str, str]]] = {}
        self.executions: dict[str, Execution] = {}
        self.by_contact: defaultdict[tuple[int, int], list[Execution]] = defaultdict(list)
        self.strays: deque[Completion] = deque(maxlen=1_000)

    def enrol(
        self, portal: Portal, workflow: Workflow, contacts: Sequence[Contact], burst: Burst, *, copies: int = 1
    ) -> list[Enrolment]:
        """Start contacts through a workflow and return at once.

        With ``copies`` above one each first attempt is sent so many times at the same moment.
        """
        burst.enrolled = len(contacts)
        enrolments = []
        for contact in contacts:
            enrolment = Enrolment(next(self._ids), contact.id, burst, copies)
            enrolment.executions.append(self._new_execution(portal, workflow, enrolment, 0))
            enrolments.append(enrolment)
        self._start(self._feed(portal, workflow, enrolments))
        return enrolments

    def complete(self, portal_id: int, callback_id: str, outputs: dict[str, str]) -> Completion:
        """Take a completion. Whether it had any effect is recorded, and never told to the app."""
        execution = self.executions.get(callback_id)
        blocked = self._blocked.get(callback_id)
        if execution is None:
            effect = Effect.UNKNOWN
        elif execution.portal_id != portal_id:
            effect = Effect.FOREIGN
        elif execution.is_final or (blocked is not None and blocked.done()):
            effect = Effect.LATE
        elif blocked is None:
            effect = Effect.LOST
        else:
            effect = Effect.APPLIED
            blocked.set_result(outputs)
        completion = Completion(callback_id, portal_id, now(), effect, outputs)
        if execution is None:
            self.strays.append(completion)
        else:
            execution.add_completion(completion)
        return completion

    async def duplicate(self, execution: Execution, *, times: int, concurrently: bool) -> list[Attempt]:
        """Send an execution again under the same callback id and return the answers.

        The state of the execution stays what it is: only the first delivery moves a workflow on.
        """
        if concurrently:
            return await asyncio.gather(*(self._attempt(execution, duplicate=True) for _ in range(times)))
        return [await self._attempt(execution, duplicate=True) for _ in range(times)]

    def forget_slots(self) -> None:
        """Let the concurrency option hold from the next execution on."""
        self._slots.clear()

    async def stop(self) -> None:
        """Abandon everything under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, coroutine: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _new_execution(self, portal: Portal, workflow: Workflow, enrolment: Enrolment, position: int) -> Execution:
        step = workflow.steps[position]
        execution = Execution(
            callback_id=f"ap-{portal.id}-{enrolment.id}-{step.id}-0",
            portal_id=portal.id,
            workflow_id=workflow.id,
            enrolment_id=enrolment.id,
            contact_id=enrolment.contact_id,
            step=step,
            burst=enrolment.burst,
            queued_at=now(),
        )
        self.executions[execution.callback_id] = execution
        self.by_contact[portal.id, enrolment.contact_id].append(execution)
        return execution

    async def _feed(self, portal: Portal, workflow: Workflow, enrolments: list[Enrolment]) -> None:
        """Start enrolments one by one as slots fall free: thousands started at once would stall the event loop."""
        for enrolment in enrolments:
            async with self._slots_of(portal.id):
                pass
            self._start(self._run(portal, workflow, enrolment))
            await asyncio.sleep(0)  # lets it take its slot before the next one looks for a slot

    async def _run(self, portal: Portal, workflow: Workflow, enrolment: Enrolment) -> None:
        outputs: dict[int, dict[str, str]] = {}
        for position, step in enumerate(workflow.steps):
            if position:
                enrolment.executions.append(self._new_execution(portal, workflow, enrolment, position))
            contact = portal.contacts.get(enrolment.contact_id)
            execution = enrolment.executions[-1]
            action = self._project.actions[step.action_uid]
            if contact is None:
                execution.finish(action, State.UNENROLLED, {})
                return
            execution.inputs = step.input_fields(action, contact, outputs)
            await self._execute(execution, action, copies=enrolment.copies)
            outputs[step.id] = execution.outputs

    async def _execute(self, execution: Execution, action: WorkflowAction, *, copies: int) -> None:
        attempt = await self._deliver(execution, copies)
        retries = 0
        while attempt.is_retried:
            gap = self._retry_gap(retries, attempt)
            if now() + gap > execution.queued_at + RETRY_FOR_SECONDS:
                return execution.finish(action, State.GAVE_UP, {})
            execution.move(State.RETRYING)
            if attempt.timed_out:
                execution.message = TIMED_OUT_LINE
            await asyncio.sleep(gap)
            retries += 1
            attempt = await self._deliver(execution, 1)
        execution.answer(attempt)
        if not attempt.is_success:
            return execution.finish(action, State.REJECTED, {})
        if attempt.outputs is None:
            execution.add_violations(["the answer has no outputFields"])
        outputs = _strings(attempt.outputs or {})
        if outputs.get("hs_execution_state") == "BLOCK":
            await self._block(execution, action, outputs)
        else:
            _finish_with(execution, action, outputs)
        return None

    async def _deliver(self, execution: Execution, copies: int) -> Attempt:
        async with self._slots_of(execution.portal_id):
            execution.move(State.SENDING)
            for _ in range(copies - 1):
                self._start(self._attempt(execution, duplicate=True))
            return await self._attempt(execution)

    def _slots_of(self, portal_id: int) -> asyncio.Semaphore:
        slots = self._slots.get(portal_id)
        if slots is None:
            slots = self._slots[portal_id] = asyncio.Semaphore(self._options.execution_concurrency)
        return slots

    async def _attempt(self, execution: Execution, *, duplicate: bool = False) -> Attempt:
        action = self._project.actions[execution.step.action_uid]
        body = compact_json(execution_request(self._portals[execution.portal_id], execution, action))
        attempt = Attempt(now(), duplicate)
        execution.add_attempt(attempt)
        try:
            answer = await self._outgoing.send("POST", action.url, body, within=self._options.action_timeout_seconds)
        except NoAnswerError as reason:
            attempt.ended_at = now()
            attempt.error = str(reason)
            attempt.timed_out = reason.timed_out
            return attempt
        attempt.ended_at = now()
        execution.burst.answer_ms.append((attempt.ended_at - attempt.started_at) * 1000)
        attempt.status = answer.status
        attempt.retry_after = answer.headers.get("retry-after", "")
        content = answer.json()
        if attempt.is_success and isinstance(content, dict) and isinstance(content.get("outputFields"), dict):
            attempt.outputs = content["outputFields"]
            execution.add_violations(check_outputs(action, content["outputFields"]))
        return attempt

    def _retry_gap(self, retries: int, attempt: Attempt) -> float:
        if attempt.status == HTTPStatus.TOO_MANY_REQUESTS and attempt.retry_after.isdecimal():
            # Milliseconds for workflows: https://developers.hubspot.com/docs/api-reference/error-handling
            return int(attempt.retry_after) / 1000
        gap = self._options.retry_base_seconds * 2.0**retries
        return min(max(gap, MIN_RETRY_GAP_SECONDS), MAX_RETRY_GAP_SECONDS)

    async def _block(self, execution: Execution, action: WorkflowAction, outputs: dict[str, str]) -> None:
        seconds = DEFAULT_BLOCK_SECONDS
        if "hs_expiration_duration" in outputs:
            try:
                seconds = duration(outputs["hs_expiration_duration"])
            except ValueError as problem:
                execution.add_violations([f"hs_expiration_duration: {problem}"])
        execution.move(State.BLOCKED)
        execution.expires_at = now() + seconds
        completed = asyncio.get_running_loop().create_future()
        self._blocked[execution.callback_id] = completed
        try:
            final = await asyncio.wait_for(completed, seconds)
        except TimeoutError:
            execution.finish(action, State.EXPIRED, {})
        else:
            execution.add_violations(check_outputs(action, final))
            _finish_with(execution, action, final)
        finally:
            del self._blocked[execution.callback_id]


def _finish_with(execution: Execution, action: WorkflowAction, outputs: dict[str, str]) -> None:
    said = outputs.get("hs_execution_state", State.SUCCESS)
    if said not in (State.SUCCESS, State.FAIL_CONTINUE):
        execution.add_violations([f"hs_execution_state {said!r} is not one HubSpot knows here"])
    state = State.FAIL_CONTINUE if said == State.FAIL_CONTINUE else State.SUCCESS
    execution.finish(action, state, outputs)


def _strings(outputs: dict[str, Any]) -> dict[str, str]:
    """Return outputs as later steps see them; a null is no output."""
    return {
        name: value if isinstance(value, str) else compact_json(value).decode()
        for name, value in outputs.items()
        if value is not None
    }
