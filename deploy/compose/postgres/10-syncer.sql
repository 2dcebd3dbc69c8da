-- Runs once, when the volume is new: a role and a database for syncer, which need not be the superuser's.
-- The password is the one in postgresql://syncer:PASSWORD@postgres:5432/syncer.
\set password `cut -d: -f3 /run/secrets/warehouse_url | cut -d@ -f1`
CREATE ROLE syncer LOGIN PASSWORD :'password';
-- The locale is PostgreSQL's own: the system's may sort otherwise after an update, and indexes would be wrong.
CREATE DATABASE syncer OWNER syncer
    TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C';
