-- Runs once, when the volume is new: a role and a database for syncer, which need not be the superuser's.
-- The password is the one in postgresql://syncer:PASSWORD@postgres:5432/syncer.
\set password `cut -d: -f3 /run/secrets/warehouse_url | cut -d@ -f1`
CREATE ROLE syncer LOGIN PASSWORD :'password';
CREATE DATABASE syncer OWNER syncer;
