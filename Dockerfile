# OpsAgent OTP: one image, three processes (Procfile). web is the default command; docker-compose.yml names the others.

# Debian's name is pinned so that a rebuild never changes the system underneath; the tag's patch level moves with
# security fixes. For builds that are the same byte for byte, append the digest: python:3.11-slim-bookworm@sha256:…
FROM python:3.11-slim-bookworm AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/opsagent
COPY requirements.txt /tmp/requirements.txt
# Wheels only: nothing is compiled, so neither stage needs build tools. Every file must have the hash that was locked.
RUN /opt/opsagent/bin/pip install --require-hashes --only-binary :all: --requirement /tmp/requirements.txt \
    # pip has done its work; what is not there cannot be used
    && /opt/opsagent/bin/pip uninstall --yes setuptools pip

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="OpsAgent OTP" \
      org.opencontainers.image.description="One-time passwords for HubSpot workflows and contact records"
RUN groupadd --system --gid 10001 opsagent \
    && useradd --system --uid 10001 --gid opsagent --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin opsagent
COPY --from=packages /opt/opsagent /opt/opsagent
# PYTHONDONTWRITEBYTECODE: the file system may be read-only; the byte code is compiled below.
ENV PATH="/opt/opsagent/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=opsagent.settings
WORKDIR /app
# Owned by root, readable by the app: it cannot change its own code.
COPY manage.py Procfile ./
COPY opsagent opsagent
COPY hubspot_integration hubspot_integration
COPY emails emails
COPY otp otp
COPY templates templates
RUN python -m compileall -q -j 0 opsagent hubspot_integration emails otp manage.py
USER 10001:10001
EXPOSE 8000
# Any host name is answered on /healthz. worker and beat have checks of their own in docker-compose.yml.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ.get('PORT') or 8000}/healthz\", timeout=4)"]
# Granian and Celery end in order on SIGTERM; deliveries that were begun are finished, the rest is given back.
STOPSIGNAL SIGTERM
CMD ["sh", "-c", "exec granian --interface rsgi opsagent.web:application --host ${HOST:-0.0.0.0} --port ${PORT:-8000} --workers 2 --backpressure 1024 --loop asyncio --http 1 --http1-header-read-timeout 10000 --workers-kill-timeout 15 --respawn-failed-workers --no-ws"]
