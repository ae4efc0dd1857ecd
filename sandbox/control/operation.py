"""Control API: the sandbox itself, the request log, webhooks and card requests. All below ``/sandbox/api``.

====================  ============================================================================================
GET    /options       what can be changed while it runs
PATCH  /options       any of ``rateLimit rateWindow latencyMs retryBaseSeconds actionTimeoutSeconds
                      executionConcurrency accessTokenSeconds logRequests enforcePermittedUrls``: the options
POST   /reset         ``{keepInstalls?}``: everything as at the start; options stay: 204
GET    /requests      ``?route=&portalId=&limit=``, newest first, of the last 5,000: ``{requests: [Request]}``
DELETE /requests      204
POST   /webhooks      ``{events: [{portalId, subscriptionType, objectId}]}``: ``{events}``, how many are being sent
GET    /webhooks      attempts to deliver: ``{deliveries: [Delivery]}``
POST   /card-fetch    ``{portalId, userId?, method, url, body?, timeout?}`` as ``hubspot.fetch`` (timeout in ms):
                      ``{status, headers, body, attempts}``; 502 ``{error}`` when the app gave no answer
POST   /option-fetch  ``{workflowId, actionId, inputFieldName, q?, after?}`` as the editor's dropdown:
                      ``{status, options: [{value, label}], after, searchable, problem}``
====================  ============================================================================================
"""

from typing import Any

from starlette.routing import BaseRoute

from sandbox.cards import FetchRefusedError
from sandbox.control.fields import BadInputError, Command, no_content, route
from sandbox.control.shaping import call_shape, delivery_shape
from sandbox.options import Options
from sandbox.outgoing import NoAnswerError
from sandbox.replies import JSONReply

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        route("/options", "GET", get_options),
        route("/options", "PATCH", patch_options),
        route("/reset", "POST", reset),
        route("/requests", "GET", list_requests),
        route("/requests", "DELETE", clear_requests),
        route("/webhooks", "GET", list_deliveries),
        route("/webhooks", "POST", publish),
        route("/card-fetch", "POST", card_fetch),
        route("/option-fetch", "POST", option_fetch),
    ]


async def get_options(command: Command) -> Any:
    """Answer the options."""
    return _options_shape(command.hubspot.options)


async def patch_options(command: Command) -> Any:
    """Change options; they hold from the next call."""
    fields, hubspot = command.fields, command.hubspot
    options = hubspot.options
    rate_limit = fields.integer("rateLimit", options.rate_limit)
    rate_window = fields.number("rateWindow", options.rate_window)
    latency_ms = fields.number("latencyMs", options.latency_ms)
    retry_base_seconds = fields.number("retryBaseSeconds", options.retry_base_seconds)
    action_timeout_seconds = fields.number("actionTimeoutSeconds", options.action_timeout_seconds)
    concurrency = fields.integer("executionConcurrency", options.execution_concurrency, low=1)
    access_token_seconds = fields.integer("accessTokenSeconds", options.access_token_seconds)
    log_requests = fields.flag("logRequests", default=options.log_requests)
    enforce_permitted_urls = fields.flag("enforcePermittedUrls", default=options.enforce_permitted_urls)
    fields.end()
    options.rate_limit, options.rate_window, options.latency_ms = rate_limit, rate_window, latency_ms
    options.retry_base_seconds, options.action_timeout_seconds = retry_base_seconds, action_timeout_seconds
    options.access_token_seconds, options.log_requests = access_token_seconds, log_requests
    options.enforce_permitted_urls = enforce_permitted_urls
    if concurrency != options.execution_concurrency:
        options.execution_concurrency = concurrency
        hubspot.executor.forget_slots()
    return _options_shape(options)


async def reset(command: Command) -> Any:
    """Start over."""
    fields, hubspot = command.fields, command.hubspot
    keep_installs = fields.flag("keepInstalls")
    fields.end()
    await hubspot.reset(keep_installs=keep_installs)
    return no_content()


async def list_requests(command: Command) -> Any:
    """Answer the app's last calls."""
    fields, hubspot = command.fields, command.hubspot
    name, portal_id = fields.text("route", ""), fields.optional_integer("portalId")
    limit = fields.integer("limit", 100, low=1)
    fields.end()
    found = [
        call_shape(call)
        for call in hubspot.log.newest()
        if call.route.startswith(name) and portal_id in (None, call.portal_id)
    ]
    return {"requests": found[:limit]}


async def clear_requests(command: Command) -> Any:
    """Forget the app's calls."""
    command.hubspot.log.clear()
    return no_content()


async def list_deliveries(command: Command) -> Any:
    """Answer the attempts to deliver webhooks."""
    return {"deliveries": [delivery_shape(delivery) for delivery in command.hubspot.webhooks.deliveries]}


async def publish(command: Command) -> Any:
    """Send events, in batches that may span portals, as HubSpot's do."""
    fields, hubspot = command.fields, command.hubspot
    events = []
    for item in fields.objects("events"):
        portal_id, object_id = item.integer("portalId"), item.integer("objectId")
        events.append(hubspot.webhooks.event(portal_id, item.text("subscriptionType"), object_id))
        item.end()
    fields.end()
    return {"events": hubspot.webhooks.publish(events)}


async def card_fetch(command: Command) -> Any:
    """Pass a card's request on, signed."""
    fields, hubspot = command.fields, command.hubspot
    portal = command.known_portal(fields.integer("portalId"))
    user = portal.users.get(fields.integer("userId", next(iter(portal.users))))
    method, url = fields.text("method", "GET"), fields.text("url")
    body, timeout = fields.optional_json("body"), fields.number("timeout", 15_000) / 1000
    fields.end()
    if user is None:
        raise BadInputError("userId", f"Portal {portal.id} has no such user")
    if method not in METHODS:
        raise BadInputError("method", f"must be one of {', '.join(METHODS)}")
    if body is not None and method == "GET":
        raise BadInputError("body", "a GET has none")
    try:
        fetched = await hubspot.cards.fetch(portal, user, method, url, body=body, within=timeout)
    except FetchRefusedError as reason:
        raise BadInputError("url", str(reason)) from None
    except NoAnswerError as reason:
        return JSONReply({"error": {"field": "", "message": str(reason)}}, 502)
    content = fetched.answer.json()
    return {
        "status": fetched.answer.status,
        "headers": dict(fetched.answer.headers),
        "body": fetched.answer.body.decode("utf-8", "replace") if content is None else content,
        "attempts": fetched.attempts,
    }


async def option_fetch(command: Command) -> Any:
    """Ask the app for the options of one input of a workflow step."""
    fields, hubspot = command.fields, command.hubspot
    workflow = hubspot.workflows.get(fields.integer("workflowId"))
    if workflow is None:
        raise fields.wrong("workflowId", "is not a workflow")
    action_id, name = fields.integer("actionId"), fields.text("inputFieldName")
    query, after = fields.text("q", ""), fields.text("after", "")
    fields.end()
    step = next((step for step in workflow.steps if step.id == action_id), None)
    if step is None:
        raise fields.wrong("actionId", "is not a step of the workflow")
    action = hubspot.project.actions[step.action_uid]
    item = next((item for item in action.inputs if item.name == name and item.options_url), None)
    if item is None:
        raise fields.wrong("inputFieldName", "is not an input with an optionsUrl")
    portal = hubspot.portals[workflow.portal_id]
    options = await hubspot.choices.fetch(portal, action, item, step.inputs, query=query, after=after)
    return {
        "status": options.status,
        "options": [{"value": choice.value, "label": choice.label} for choice in options.choices],
        "after": options.after,
        "searchable": options.searchable,
        "problem": options.problem,
    }


def _options_shape(options: Options) -> dict[str, Any]:
    return {
        "rateLimit": options.rate_limit,
        "rateWindow": options.rate_window,
        "latencyMs": options.latency_ms,
        "retryBaseSeconds": options.retry_base_seconds,
        "actionTimeoutSeconds": options.action_timeout_seconds,
        "executionConcurrency": options.execution_concurrency,
        "accessTokenSeconds": options.access_token_seconds,
        "logRequests": options.log_requests,
        "enforcePermittedUrls": options.enforce_permitted_urls,
    }
