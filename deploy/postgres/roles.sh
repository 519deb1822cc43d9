#!/bin/sh
# Runs once, on an empty volume. Each role can read only its own databases.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set temporal="$TEMPORAL_DB_PASSWORD" --set recourse="$RECOURSE_DB_PASSWORD" <<'SQL'
CREATE ROLE temporal LOGIN PASSWORD :'temporal';
CREATE ROLE recourse LOGIN PASSWORD :'recourse';
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
CREATE DATABASE recourse OWNER recourse;
REVOKE CONNECT ON DATABASE temporal, temporal_visibility, recourse FROM PUBLIC;
SQL
