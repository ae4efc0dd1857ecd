#!/bin/sh
# Run once by the PostgreSQL image, when its volume is empty: the app's database, owned by an ordinary role.
# Name and password are those of DATABASE_URL, so that they stand in one place. Superusers bypass what protects the
# audit log; that is why the app does not use the one that this image makes.
set -eu

url=$(cat "$DATABASE_URL_FILE")
account=${url#*://}
account=${account%%@*}
role=${account%%:*}
password=${account#*:}
database=${url##*/}
database=${database%%\?*}

psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set role="$role" --set password="$password" --set database="$database" <<'SQL'
CREATE ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE :"database" OWNER :"role";
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
SQL
