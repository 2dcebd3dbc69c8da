"""What is deployed: what no schema can see in the compose file, the Dockerfile, the unit and the crontab line."""

from __future__ import annotations

import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import requires
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement
from ruamel.yaml import YAML

from syncer import __version__
from syncer.cli import group
from syncer.cli.platforms import platforms
from syncer.config import load

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "syncer.service"
PASSWORD = "p@ss:w/rd $HOME `id` \\n"

# Variables of the compose file with their defaults: ${NAME:-default}.
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def compose() -> dict[str, Any]:
    """The compose file as it is without .env."""
    document: dict[str, Any] = YAML(typ="safe").load(VARIABLE.sub(r"\2", text_of("docker-compose.yml")))
    return document


SERVICES: dict[str, dict[str, Any]] = compose()["services"]
ONCE = [name for name, service in SERVICES.items() if service["restart"] == "no"]
LASTING = [name for name in SERVICES if name not in ONCE]


# The compose file


def test_every_variable_of_the_compose_file_has_one_default_which_the_example_tells() -> None:
    text = text_of("docker-compose.yml")
    told = re.findall(r"^(\w+)=(.*)$", text_of(".env.example"), re.MULTILINE)
    assert sorted(told) == sorted(set(VARIABLE.findall(text)))
    # Two of them are one that is left to the container.
    assert "$" not in VARIABLE.sub("", text).replace("$$", "")


def test_every_variable_of_the_example_is_explained_above_it() -> None:
    lines = text_of(".env.example").splitlines()
    assert [line for above, line in pairwise(lines) if "=" in line and not above.startswith("# ")] == []


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_no_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["read_only"] is True
    assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"])


@pytest.mark.parametrize("name", LASTING)
def test_a_service_comes_back_by_itself_and_says_whether_it_is_well(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert {"interval", "timeout", "start_period"} <= set(service["healthcheck"])
    assert seconds(service["stop_grace_period"]) > 10, "what SIGTERM may take"


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


@pytest.mark.parametrize("name", ONCE)
def test_what_ends_when_it_is_done_is_not_taken_for_sick(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"] == {"disable": True}
    assert "ports" not in service


def profiles(name: str) -> set[str]:
    return set(SERVICES[name].get("profiles", []))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_until_what_it_needs_is_done_or_well(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        done = "service_completed_successfully" if needed in ONCE else "service_healthy"
        assert how == {"condition": done}
        assert not profiles(needed) or profiles(name) <= profiles(needed), "it is there whenever it is needed"


def test_without_a_profile_there_is_the_warehouse_and_the_service_alone() -> None:
    assert [name for name in SERVICES if not profiles(name)] == ["postgres", "syncer"]
    tools = {"superset", "grafana", "metabase"}
    assert set().union(*map(profiles, SERVICES)) == tools
    assert tools <= set(LASTING)


@pytest.mark.parametrize("name", ["superset", "grafana", "metabase"])
def test_a_tool_begins_when_its_role_may_read(name: str) -> None:
    assert "bi-grant" in SERVICES[name]["depends_on"]


def test_only_the_service_and_what_grants_connect_as_the_owner() -> None:
    owners = [name for name, service in SERVICES.items() if "warehouse_url" in service.get("secrets", [])]
    assert owners == ["postgres", "syncer", "bi-grant"]


def test_no_port_is_published_beyond_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)] == []


def test_every_image_is_pinned_to_an_exact_version() -> None:
    bases = [
        line.split()[1] for file in dockerfiles() for line in dockerfile(file) if line.startswith("FROM ")
    ]
    images = [*bases, *(service["image"] for service in SERVICES.values() if "image" in service)]
    assert len({base for base in bases if base.startswith("python:")}) == 1
    # PostgreSQL has two numbers, everything else three.
    exact = r"postgres:\d+\.\d+-[a-z]+|[\w/.-]+:v?\d+\.\d+\.\d+[\w.-]*"
    assert [image for image in images if not re.fullmatch(exact, image)] == []
    assert len({image.partition(":")[0] for image in images}) == len(set(images)), "one version of each"


def dockerfiles() -> list[str]:
    contexts = {service["build"] for service in SERVICES.values() if "build" in service}
    return [str(Path(context) / "Dockerfile") for context in sorted(contexts)]


def test_every_secret_is_a_file_in_a_folder_that_git_and_images_ignore() -> None:
    secrets = {name: secret["file"] for name, secret in compose()["secrets"].items()}
    assert {name for service in SERVICES.values() for name in service.get("secrets", [])} == set(secrets)
    assert secrets == {name: f"./secrets/{name}" for name in secrets}
    assert "/secrets/" in text_of(".gitignore").splitlines()


@pytest.mark.parametrize("name", SERVICES)
def test_no_password_stands_in_an_environment(name: str) -> None:
    service = SERVICES[name]
    for variable, value in service.get("environment", {}).items():
        assert not re.search("://.*@", value), "an address with a password"
        if re.search("PASS|SECRET|TOKEN", variable):
            # The name of the file, or what Grafana puts the file's content in place of.
            file = re.fullmatch(r"/run/secrets/(\w+)|\$\$__file\{/run/secrets/(\w+)\}", value)
            assert file
            assert set(filter(None, file.groups())) <= set(service["secrets"])


def test_whatever_is_mounted_from_the_repository_exists() -> None:
    mounts = [each.split(":")[0] for service in SERVICES.values() for each in service.get("volumes", [])]
    folders = [source for source in mounts if source.startswith(".")]
    assert folders
    assert [source for source in folders if not (ROOT / source).exists()] == []
    assert {source for source in mounts if source not in folders} == set(compose()["volumes"])


# Its secrets and its configuration


def make_secrets(folder: Path, typed: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DEPLOY / "compose" / "make-secrets", folder],
        env={"PATH": os.environ["PATH"]} | env,
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A folder with the secrets, made as a person makes them."""
    folder = tmp_path / "secrets"
    done = make_secrets(folder, QUALYS_PASSWORD=PASSWORD)
    assert done.returncode == 0
    assert PASSWORD not in done.stdout + done.stderr
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}


def test_the_secrets_made_are_those_that_the_compose_file_asks_for(secrets: Path) -> None:
    assert set(contents(secrets)) == set(compose()["secrets"])


def test_containers_can_read_the_secrets_and_other_users_of_the_machine_cannot(secrets: Path) -> None:
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in secrets.iterdir()} == {0o644}


def test_secrets_that_are_there_stay(secrets: Path) -> None:
    before = contents(secrets)
    (secrets / "postgres_password").unlink()
    assert make_secrets(secrets, QUALYS_PASSWORD="another").returncode == 0
    after = contents(secrets)
    assert after.pop("postgres_password") != before.pop("postgres_password")
    assert after == before


@pytest.mark.parametrize("lost", ["bi_password", "bi_url"])
def test_the_tools_password_is_the_same_wherever_it_stands(secrets: Path, lost: str) -> None:
    (secrets / lost).unlink()
    assert make_secrets(secrets).returncode == 0
    made = contents(secrets)
    url = urlsplit(made["bi_url"])
    assert (url.username, url.password) == ("bi", made["bi_password"])
    assert (url.hostname, url.port, url.path) == ("postgres", 5432, "/syncer")


def test_what_is_made_up_is_made_up_anew_each_time(secrets: Path) -> None:
    made = [text for name, text in contents(secrets).items() if name not in {"qualys_password", "bi_url"}]
    assert len(set(made)) == len(made)
    assert min(map(len, made)) >= 48


def test_a_password_that_is_not_in_the_environment_is_read_as_it_is_typed(tmp_path: Path) -> None:
    assert make_secrets(tmp_path, f"{PASSWORD}\n").returncode == 0
    assert contents(tmp_path)["qualys_password"] == PASSWORD


def test_no_empty_secret_is_written(tmp_path: Path) -> None:
    done = make_secrets(tmp_path)
    assert (done.returncode, done.stderr) == (2, "qualys_password is empty: nothing was written\n")
    assert not (tmp_path / "qualys_password").exists()


def mounted_config(folder: Path, secrets: Path) -> Path:
    """The configuration as the container sees it, with its secrets elsewhere."""
    file = folder / "config.toml"
    text = text_of("deploy/compose/syncer/config.toml")
    file.write_text(text.replace("/run/secrets/", f"{secrets}/"), encoding="utf-8")
    return file


def test_the_mounted_configuration_loads_with_the_secrets_given(tmp_path: Path, secrets: Path) -> None:
    settings = load(mounted_config(tmp_path, secrets), env={}, platforms=platforms())
    (connection,) = settings.connections.values()
    assert connection.auth.model_dump()["password"].get_secret_value() == PASSWORD
    url = urlsplit(settings.warehouse.url.get_secret_value())
    assert (url.hostname, url.port) == ("postgres", 5432)
    assert url.hostname in SERVICES


def test_the_services_port_is_the_same_everywhere(tmp_path: Path, secrets: Path) -> None:
    settings = load(mounted_config(tmp_path, secrets), env={}, platforms=platforms())
    (published,) = SERVICES["syncer"]["ports"]
    port = int(published.split(":")[-1])
    assert settings.service.address == ("0.0.0.0", port)
    assert f"EXPOSE {port}" in dockerfile()
    assert f", {port}," in " ".join(health_check())
    assert f'targets: ["syncer:{port}"]' in text_of("deploy/prometheus/prometheus.yml")


def test_the_databases_role_gets_the_password_that_the_service_uses(secrets: Path) -> None:
    (command,) = re.findall(r"`(.*)`", text_of("deploy/compose/postgres/10-syncer.sql"))
    found = subprocess.run(
        ["sh", "-c", command.replace("/run/secrets", str(secrets))],
        capture_output=True,
        text=True,
        check=True,
    )
    url = urlsplit(contents(secrets)["warehouse_url"])
    assert found.stdout.strip() == url.password
    assert (url.username, url.path) == ("syncer", "/syncer")


def test_grafana_is_led_to_the_warehouse_and_to_prometheus(secrets: Path) -> None:
    # In this order Grafana puts in variables, then files.
    text = text_of("deploy/grafana/provisioning/datasources/syncer.yaml")
    given = SERVICES["grafana"]["environment"]
    text = re.sub(r"\$\{(\w+)\}", lambda found: given[found[1]].replace("$$", "$"), text)
    text = re.sub(r"\$__file\{/run/secrets/(\w+)\}", lambda found: contents(secrets)[found[1]], text)
    warehouse, prometheus = YAML(typ="safe").load(text)["datasources"]
    url = urlsplit(contents(secrets)["bi_url"])
    assert (warehouse["url"], warehouse["user"]) == (f"{url.hostname}:{url.port}", url.username)
    assert warehouse["secureJsonData"]["password"] == url.password
    assert warehouse["jsonData"]["database"] == url.path.removeprefix("/")
    target = urlsplit(prometheus["url"])
    assert target.hostname in SERVICES
    assert SERVICES["prometheus"]["ports"][0].endswith(f":{target.port}")


def test_grafana_finds_its_dashboards_where_they_are_mounted() -> None:
    places = dict(mount.split(":")[1::-1] for mount in SERVICES["grafana"]["volumes"])
    provider = YAML(typ="safe").load(text_of("deploy/grafana/provisioning/dashboards/syncer.yaml"))
    (folder,) = [each["options"]["path"] for each in provider["providers"]]
    assert places[folder] == "./deploy/grafana/dashboards"
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (str(home.parent), (ROOT / places[folder] / home.name).exists()) == (folder, True)


@pytest.mark.parametrize(
    ("name", "folder", "program"),
    [("bi-roles", "deploy/compose/bi", "/bi/"), ("metabase-setup", "deploy/metabase", "/metabase/")],
)
def test_what_is_run_once_is_where_it_is_mounted(name: str, folder: str, program: str) -> None:
    assert f"./{folder}:{program.rstrip('/')}:ro" in SERVICES[name]["volumes"]
    *interpreter, file = SERVICES[name]["entrypoint"]
    path = ROOT / folder / file.removeprefix(program)
    assert path.exists()
    assert interpreter or os.access(path, os.X_OK)


# The image


def dockerfile(name: str = "Dockerfile") -> list[str]:
    """Its instructions, one line each."""
    lines = [line for line in text_of(name).splitlines() if not line.startswith("#")]
    return [line for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line]


def copied() -> list[str]:
    """What comes into the image from the repository."""
    copies = [
        line.split()[1:-1] for line in dockerfile() if line.startswith("COPY ") and "--from=" not in line
    ]
    return [source.rstrip("/") for sources in copies for source in sources]


def health_check() -> list[str]:
    (line,) = [line for line in dockerfile() if line.startswith("HEALTHCHECK ")]
    command: list[str] = json.loads(line.partition(" CMD ")[2])
    return command


def test_it_does_not_run_as_root_and_says_so_by_number() -> None:
    last = [line for line in dockerfile() if line.startswith("USER ")][-1]
    assert re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", last)
    assert dockerfile().index(last) > max(
        at for at, line in enumerate(dockerfile()) if line.startswith("FROM ")
    )


def test_it_carries_the_version_of_the_code() -> None:
    assert f'org.opencontainers.image.version="{__version__}"' in text_of("Dockerfile")


def test_nothing_gets_into_the_build_but_what_is_copied() -> None:
    rules = [line for line in text_of(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert sorted(rule[1:] for rule in rules if rule.startswith("!")) == sorted(copied())


def test_it_has_all_that_building_the_wheel_takes() -> None:
    (listed,) = re.findall(r"awk '/\^\(([\w|-]+)\)==/", text_of("Dockerfile"))
    assert sorted(listed.split("|")) == sorted({"hatchling", *needs("hatchling")})


def needs(package: str) -> set[str]:
    """What a package requires here, and what that requires."""
    wanted = [Requirement(text) for text in requires(package) or []]
    direct = {each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})}
    return direct.union(*map(needs, direct))


def test_the_wheel_built_from_what_is_copied_runs(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    for name in copied():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", "dist"]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(next((source / "dist").glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")
    said = subprocess.run(
        [sys.executable, "-m", "syncer", "--version"],
        cwd=tmp_path / "installed",
        check=True,
        capture_output=True,
        text=True,
    )
    assert said.stdout == f"syncer {__version__}\n"


class Health(http.server.BaseHTTPRequestHandler):
    """Answers /healthz with the server's `status`, anything else with 404."""

    def do_GET(self) -> None:
        self.send_response(getattr(self.server, "status") if self.path == "/healthz" else 404)  # noqa: B009
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def answering(status: int) -> Iterator[int]:
    """The port of a server whose health is this status."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        vars(server)["status"] = status
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def asks(port: int, **env: str) -> int:
    """The exit code of the image's health check, asked of another port."""
    program, *arguments = (word.replace("9108", str(port)) for word in health_check())
    assert program == "python"
    done = subprocess.run([sys.executable, *arguments], env=env, capture_output=True, check=False)
    return done.returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_the_health_check_believes_what_the_service_answers(status: int, code: int) -> None:
    with answering(status) as port:
        assert asks(port) == code


def test_the_health_check_fails_where_nothing_listens() -> None:
    with answering(200) as port:
        pass
    assert asks(port) == 1


def test_the_health_check_asks_no_proxy() -> None:
    with answering(200) as port:
        assert asks(port, http_proxy="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9") == 0


# The unit and the crontab line


def unit_values(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)


def cron_line() -> list[str]:
    """The five fields of the time, the account and the command."""
    lines: list[str] = re.findall(r"^[*\d].*$", text_of("deploy/cron/syncer"), re.MULTILINE)
    assert len(lines) == 1
    return lines[0].split(maxsplit=6)


def entry_point() -> str:
    program, *_ = json.loads(next(line for line in dockerfile() if line.startswith("ENTRYPOINT"))[11:])
    (arguments,) = [json.loads(line[4:]) for line in dockerfile() if line.startswith("CMD ")]
    return shlex.join([program, *arguments])


@pytest.mark.parametrize(
    "line",
    [
        *unit_values("ExecStart"),
        cron_line()[-1].partition("2>&1")[0],
        entry_point(),
        shlex.join(["syncer", *SERVICES["bi-grant"]["command"]]),
    ],
)
def test_the_command_that_is_started_exists_with_its_options(line: str) -> None:
    program, *arguments = shlex.split(line)
    assert Path(program).name == "syncer"
    done = CliRunner().invoke(group, [*arguments, "--help"])
    assert done.exit_code == 0, done.output


def test_a_pass_from_cron_ends_before_the_next_begins() -> None:
    minutes, *_, command = cron_line()
    assert int(re.findall(r"--for (\d+)m", command)[0]) < int(minutes.removeprefix("*/"))


def test_the_unit_gives_the_service_the_time_that_stopping_takes() -> None:
    assert [int(value) > 10 for value in unit_values("TimeoutStopSec")] == [True]


def needs_systemd(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says; a machine without it, or with one that is too old, skips the test."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze here")
    said = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True).stdout
    if int(said.split()[1]) < 250:
        pytest.skip("this systemd-analyze cannot judge a file")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def test_systemd_knows_every_line_of_the_unit(tmp_path: Path) -> None:
    # The program need not be installed on the machine that tests.
    text = re.sub(r"/\S+/syncer run|/bin/kill", "/bin/sh", UNIT.read_text(encoding="utf-8"))
    copy = tmp_path / UNIT.name
    copy.write_text(text, encoding="utf-8")
    said = needs_systemd("verify", "--recursive-errors=no", copy).stderr
    assert [line for line in said.splitlines() if UNIT.name in line] == []


def test_the_unit_leaves_little_exposed() -> None:
    done = needs_systemd("security", "--offline=true", "--threshold=15", UNIT)
    assert done.returncode == 0, done.stdout.splitlines()[-1]
