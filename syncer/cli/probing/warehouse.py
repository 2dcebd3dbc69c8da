"""What can be said about the warehouse without changing it: reach, version, rights, schema, clock.

Invariant: it writes nothing but a wait that a source asked for meanwhile. An embedded server that exists is
started, as every command does; one that does not exist is not made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, RowMapping, text

from syncer.cli.output import shown
from syncer.cli.probing.findings import Finding, Group, failed, noted, ok, warning
from syncer.config import Connection, Settings, Warehouse
from syncer.embedded import EmbeddedServer, installed_programs
from syncer.embedded.server import CLUSTER
from syncer.errors import SyncerError, WarehouseError
from syncer.http import Gate
from syncer.state import limits
from syncer.warehouse import check_version, engine, head, is_behind
from syncer.warehouse.revisions import OLDEST_SERVER
from syncer.words import length

NOWHERE = "postgresql://"
"""An address for what is only put together, and never connected to."""

SKEW = timedelta(seconds=60)
"""From here on two clocks are told to differ."""

_FACTS = text(
    """
    SELECT current_user::text AS role, current_setting('server_version') AS version,
      current_setting('server_version_num')::int / 10000 AS major, current_setting('server_encoding') AS encoding,
      pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean AS only_reads,
      has_database_privilege(current_database(), 'CREATE') AS may_create,
      has_database_privilege(current_database(), 'TEMPORARY') AS may_temporary,
      current_database()::text AS database, clock_timestamp() AS now,
      EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'syncer') AS has_schema
    """
)
_FOREIGN = text(
    """
    SELECT nspname::text, pg_get_userbyid(nspowner)::text FROM pg_namespace
    WHERE nspname IN ('history', 'syncer') AND NOT pg_has_role(nspowner, 'USAGE') ORDER BY nspname
    """
)
_LACKING = text(
    """
    SELECT coalesce(string_agg(n.nspname || '.' || c.relname, ', ' ORDER BY n.nspname, c.relname), '')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('history', 'syncer') AND c.relkind = 'r' AND c.relname <> 'alembic_version'
      AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
        AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
        AND has_table_privilege(c.oid, 'DELETE'))
    """
)
_STORED = text(
    "SELECT platform, base_url, first_synced_at FROM history.connections WHERE connection_id = :name"
)


class View:
    """A warehouse as far as it can be looked at: `is_known` where it can be reached and has this version's schema."""

    def __init__(self, made: Engine) -> None:
        self.engine = made
        self.is_known = False
        self._looking = made.execution_options(postgresql_readonly=True)

    def findings(self) -> Iterator[Finding]:
        """All about the warehouse itself; raises WarehouseError where it cannot be reached."""
        with self._looking.connect() as db:
            facts = db.execute(_FACTS).mappings().one()
            foreign = {row[0]: row[1] for row in db.execute(_FOREIGN)}
            lacking = db.scalar(_LACKING) or ""
        yield _server(facts, self.engine)
        yield _rights(facts, foreign, lacking)
        yield _clock(facts["now"])

    def schema_findings(self, *, migrates: bool) -> Iterator[Finding]:
        """Whether the schema is this version's; what is older is no fault where `migrates` mends it."""
        try:
            check_version(self._looking)
        except WarehouseError as error:
            if migrates and is_behind(self._looking):
                yield noted("schema", f"{error.message}: `syncer sync` and `syncer run` bring it there")
            else:
                yield failed("schema", error, is_fatal=True)
        else:
            self.is_known = True
            yield ok("schema", f"at revision {head()}, which is this version's")

    def connection_findings(self, connection: Connection) -> Iterator[Finding]:
        """Whether the connection's name stands for the same tenant as before."""
        if not self.is_known:
            return
        with self._looking.connect() as db:
            stored = db.execute(_STORED, {"name": connection.name}).first()
        if stored is None:
            yield ok("name", "new to the warehouse")
            return
        pairs = (("platform", stored.platform), ("base_url", stored.base_url))
        other = [(key, was) for key, was in pairs if was != getattr(connection, key)]
        for key, was in other:
            error = WarehouseError(
                f"the warehouse holds history of another {key} under this name: {was}",
                "give the new tenant a name of its own: two tenants must not be mixed",
            )
            yield failed("name", error, is_fatal=True)
        if not other:
            yield ok("name", f"known to the warehouse since {shown(stored.first_synced_at)} UTC")

    def wait(self, connection: Connection) -> limits.Wait | None:
        """What the source has said about waiting, if that is on."""
        if not self.is_known:
            return None
        with self._looking.connect() as db:
            return limits.remaining_wait(db, connection.name)

    def note_wait(self, connection: Connection, gate: Gate) -> None:
        """Keep what the source said about waiting, so that the next command heeds it."""
        if self.is_known and gate.is_waiting and gate.not_before:
            left = gate.not_before - gate.clock.now()
            with self.engine.begin() as db:
                limits.note_wait(db, connection.name, left, gate.reason)


@contextmanager
def viewed(settings: Settings) -> Iterator[tuple[Group, View]]:
    """The findings about the warehouse, and a view of it that lasts as long as the body."""
    group = Group(name="warehouse", about="embedded" if settings.warehouse.embedded else "")
    url = NOWHERE
    try:
        url = _url(settings.warehouse, group) or NOWHERE
        view = View(engine(url))
    except SyncerError as error:
        group.findings.append(failed("reached", error, is_fatal=True))
        view = View(engine(NOWHERE))
    try:
        if url != NOWHERE:
            _look(view, settings, group)
        yield group, view
    finally:
        view.engine.dispose()


def _url(warehouse: Warehouse, group: Group) -> str | None:
    """The address; None where the embedded server has not been made yet."""
    if not warehouse.embedded:
        return warehouse.url.get_secret_value()
    server = EmbeddedServer(warehouse.data_dir)
    if (server.home / CLUSTER / "PG_VERSION").exists():
        return server.start()
    if not (found := installed_programs()):
        raise WarehouseError(
            "no PostgreSQL server was found that could be the embedded one",
            'pip install "syncer[embedded]", or set warehouse.url to a server that you have',
        )
    made = f"none yet: the first sync makes one, PostgreSQL {found[0].version} in {server.home}"
    group.findings.append(noted("reached", made))
    return None


def _look(view: View, settings: Settings, group: Group) -> None:
    try:
        group.findings += view.findings()
        if not group.is_dead:
            group.findings += view.schema_findings(migrates=settings.warehouse.auto_migrate)
    except WarehouseError as error:
        group.findings.append(failed("reached", error, is_fatal=True))


def _server(facts: RowMapping, made: Engine) -> Finding:
    place = f"{made.url.host or 'the local socket'}:{made.url.port or 5432}"
    told = f"PostgreSQL {facts['version']} at {place}, database {facts['database']} as {facts['role']}"
    if facts["major"] < OLDEST_SERVER:
        return _broken("reached", told, f"use PostgreSQL {OLDEST_SERVER} or newer")
    if facts["encoding"] != "UTF8":
        hint = "create a database with: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        return _broken("reached", f"{told}; its encoding is {facts['encoding']}", hint)
    if facts["only_reads"]:
        return _broken("reached", f"{told}; it only reads", "point warehouse.url to the primary server")
    return ok("reached", told)


def _rights(facts: RowMapping, foreign: dict[str, str], lacking: str) -> Finding:
    role, database, has_schema = facts["role"], facts["database"], facts["has_schema"]
    lacks = [] if facts["may_temporary"] else [f"GRANT TEMPORARY ON DATABASE {database} TO {role}"]
    if not has_schema and not facts["may_create"]:
        lacks.append(f"GRANT CREATE ON DATABASE {database} TO {role}")
    if lacks:
        return _broken("rights", f"{role} may not do all it must", f"as an administrator: {'; '.join(lacks)}")
    if lacking:
        hint = "connect as the owner of the schemas history and syncer, or grant it"
        return _broken("rights", f"{role} may not read and write {lacking}", hint)
    if foreign:
        owners = ", ".join(sorted(set(foreign.values())))
        return warning(
            "rights",
            f"{role} may write, but not migrate: the schemas belong to {owners}",
            f"run `syncer migrate` as {owners} when syncer is upgraded, or connect as {owners}",
        )
    return ok("rights", "may create, write and migrate" if has_schema else "may create its schemas")


def _clock(now: datetime) -> Finding:
    return clocks("clock", now, "the warehouse", "leases go by the warehouse's")


def clocks(subject: str, theirs: datetime, whose: str, why: str) -> Finding:
    """Whether a clock elsewhere agrees with this machine's; nothing goes wrong where it does not."""
    skew = datetime.now(UTC) - theirs
    if abs(skew) <= SKEW:
        return ok(subject, f"agrees with this machine's within {SKEW.seconds} s")
    side = "ahead of" if skew > timedelta(0) else "behind"
    return warning(
        subject,
        f"this machine's is {length(abs(skew))} {side} that of {whose}",
        f"nothing is lost by it ({why}), but lag looks wrong: set this machine's clock",
    )


def _broken(subject: str, finding: str, hint: str) -> Finding:
    return failed(subject, WarehouseError(finding, hint), is_fatal=True)
