"""The command line: ``python -m sandbox``."""

import argparse
import os
import sys
from pathlib import Path

import uvloop

from sandbox.hubspot import HubSpot
from sandbox.options import Options
from sandbox.server import serve
from sandbox.upload import ProjectError, load


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _parser() -> argparse.ArgumentParser:
    environment = os.environ.get
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="A local stand-in for HubSpot, with a mailbox.",
        epilog="The app's client secret comes from the environment only: SANDBOX_CLIENT_SECRET.",
    )
    add = parser.add_argument
    add("--project", type=Path, required=True, metavar="FOLDER", help="the app's developer project")
    add("--profile", default="local", metavar="NAME", help="src/hsprofile.NAME.json; may be missing (default: local)")
    add("--set", type=_variable, action="append", default=[], metavar="NAME=VALUE", help="override a profile variable")
    add("--host", default="127.0.0.1", help="default: 127.0.0.1")
    add("--port", type=int, default=8100, help="0 picks a free one (default: 8100)")
    add("--smtp-port", type=int, default=8125, help="0 picks a free one (default: 8125)")
    add("--app-id", type=int, default=environment("SANDBOX_APP_ID"), help="default: $SANDBOX_APP_ID")
    add("--client-id", default=environment("SANDBOX_CLIENT_ID"), help="default: $SANDBOX_CLIENT_ID")
    add("--install-path", default="/hubspot/install", metavar="PATH", help="where the app starts its installation")
    add("--rate-limit", type=int, default=110, metavar="N", help="API calls per window and portal (default: 110)")
    add("--rate-window", type=float, default=10.0, metavar="SECONDS", help="default: 10")
    add("--latency-ms", type=float, default=0.0, metavar="MS", help="added to every API answer (default: 0)")
    add("--retry-base-seconds", type=float, default=60.0, metavar="SECONDS", help="first retry (default: 60)")
    add("--action-timeout-seconds", type=float, default=20.0, metavar="SECONDS", help="default: 20")
    add(
        "--execution-concurrency", type=int, default=16, metavar="N", help="executions at once per portal (default: 16)"
    )
    add("--access-token-seconds", type=int, default=1800, metavar="SECONDS", help="life of a token (default: 1800)")
    add("--no-request-log", action="store_true", help="do not keep the app's API calls")
    return parser


def main() -> int:
    """Run the sandbox and return the exit status."""
    parser = _parser()
    arguments = parser.parse_args()
    secret = os.environ.get("SANDBOX_CLIENT_SECRET", "")
    if not secret:
        parser.error("set SANDBOX_CLIENT_SECRET in the environment: the app's client secret")
    if arguments.app_id is None or arguments.client_id is None:
        parser.error("set --app-id and --client-id, or SANDBOX_APP_ID and SANDBOX_CLIENT_ID")
    options = Options(
        app_id=arguments.app_id,
        client_id=arguments.client_id,
        client_secret=secret,
        rate_limit=arguments.rate_limit,
        rate_window=arguments.rate_window,
        latency_ms=arguments.latency_ms,
        retry_base_seconds=arguments.retry_base_seconds,
        action_timeout_seconds=arguments.action_timeout_seconds,
        execution_concurrency=arguments.execution_concurrency,
        access_token_seconds=arguments.access_token_seconds,
        log_requests=not arguments.no_request_log,
        install_path=arguments.install_path,
    )
    try:
        project = load(arguments.project, arguments.profile, dict(arguments.set))
    except ProjectError as problem:
        parser.error(str(problem))
    try:
        uvloop.run(serve(HubSpot(options, project), arguments.host, arguments.port, arguments.smtp_port))
    except OSError as problem:
        print(f"python -m sandbox: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
