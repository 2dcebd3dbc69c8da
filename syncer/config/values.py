"""What single values of a configuration mean: durations, cron expressions, secrets, addresses, files.

Invariant: a value that cannot be meant is refused with a ValueError that says what would be right and
shows no secret.
Must not know sections, keys or platforms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainValidator, SecretStr, ValidationInfo

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

MASK = "********"

_UNITS = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:[0-9]{1,12}[wdhms])+")
# A century: longer ones would carry `now - horizon` out of the calendar.
_LONGEST = 100 * 365 * 86_400
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def toml_text(text: str) -> str:
    """A text in quotes as TOML wants them: JSON's rules are a part of TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def quoted(value: str) -> str:
    """A value as the file would hold it, short enough for a line."""
    text = toml_text(value)
    return text if len(text) <= 60 else f"{text[:56]}...{text[-1]}"


def parse_duration(text: str) -> timedelta:
    """A length of time from "90s", "5m", "12h", "30d", "2w" or several in a row, such as "1h30m"."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f'{quoted(text)} is not a duration; write it like "5m"')
    seconds = sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"([0-9]+)([wdhms])", text))
    if seconds > _LONGEST:
        raise ValueError(f"{quoted(text)} is longer than a century; write a shorter duration")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """The same in the largest units that leave no rest: "5m", "30d", "1h30m"."""
    rest = round(duration.total_seconds())
    parts = []
    for unit in "dhms":
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return parse_duration(value)
    raise ValueError('must be a duration in quotes, like "5m"')


def _positive(duration: timedelta) -> timedelta:
    if not duration:
        raise ValueError('must be longer than nothing; write it like "5m"')
    return duration


Duration = Annotated[timedelta, BeforeValidator(_duration)]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]


@dataclass(frozen=True)
class Cron:
    """Five fields of cron in UTC, with the weekdays of every crontab: 0 and 7 are Sunday."""

    expression: str

    def trigger(self) -> CronTrigger:
        """The same for APScheduler; ValueError where it has no meaning."""
        from apscheduler.triggers.cron import CronTrigger  # most configurations hold no such expression

        minute, hour, day, month, weekday = self.expression.split()
        if "*" not in (day, weekday):
            # cron takes either, APScheduler both
            raise ValueError("a day of the month and a day of the week exclude each other")
        return CronTrigger(
            minute=minute, hour=hour, day=day, month=month, day_of_week=_weekdays(weekday), timezone=UTC
        )

    def __str__(self) -> str:
        return self.expression


def _weekdays(field: str) -> str:
    """Weekdays by name, because APScheduler counts them from Monday."""
    days: set[int] = set()
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        first, _, last = ("0", "-", "6") if span == "*" else span.partition("-")
        low = _weekday(first)
        high = _weekday(last) if last else 6 if step else low
        if low > high:
            raise ValueError(f"the weekdays {part} run backwards")
        days.update(day % 7 for day in range(low, high + 1, int(step or 1)))
    return ",".join(_WEEKDAYS[day] for day in sorted(days))


def _weekday(text: str) -> int:
    day = _WEEKDAYS.index(text) if text in _WEEKDAYS else int(text)
    if not 0 <= day <= 7:
        raise ValueError(f"there is no weekday {day}")
    return day


def _poll(value: object) -> timedelta | Cron:
    if not isinstance(value, str) or len(value.split()) != 5:
        return _positive(_duration(value))
    cron = Cron(" ".join(value.split()))
    try:
        comes = cron.trigger().get_next_fire_time(None, datetime(2000, 1, 1, tzinfo=UTC))
    except ValueError as error:
        raise ValueError(
            f'{quoted(value)} is not a cron expression ({error}); write it like "*/15 * * * *"'
        ) from None
    if comes is None:
        raise ValueError(f'{quoted(value)} names a day that never comes; write it like "*/15 * * * *"')
    return cron


Poll = Annotated[timedelta | Cron, PlainValidator(_poll)]


class SecretText(SecretStr):
    """A text that shows itself only to `get_secret_value()`; `shown` is how the file may name it."""

    def __init__(self, value: str, shown: str = f'"{MASK}"') -> None:
        super().__init__(value)
        self.shown = shown


def _secret(value: object, info: ValidationInfo) -> SecretText:
    """A secret from the text itself, the environment or a file. The validation's context holds `env`."""
    match value:
        case SecretText():
            return value
        case str():
            return _filled(value, f'"{MASK}"', "the text")
        case {"env": str(name), **rest} if not rest:
            return _from_environment(name, (info.context or {}).get("env", {}))
        case {"file": str(name), **rest} if not rest:
            return _from_file(name)
    raise ValueError('must be a text in quotes, { env = "NAME" } or { file = "/path" }')


def _from_environment(name: str, env: Mapping[str, str]) -> SecretText:
    if name not in env:
        raise ValueError(f"the environment variable {name} is not set; set it, or name another source")
    return _filled(env[name], f"{{ env = {toml_text(name)} }}", f"the environment variable {name}")


def _from_file(name: str) -> SecretText:
    try:
        text = _expanded(name).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"cannot read {name}: {error.strerror}; put the secret there, or name another file"
        ) from None
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not UTF-8 text; write the secret alone into it") from None
    return _filled(text.rstrip("\r\n"), f"{{ file = {toml_text(name)} }}", name)


def _filled(text: str, shown: str, origin: str) -> SecretText:
    if not text:
        raise ValueError(f"{origin} is empty; put the secret there")
    return SecretText(text, shown)


Secret = Annotated[SecretText, PlainValidator(_secret)]


def _fit_for_a_header(secret: SecretText) -> SecretText:
    text = secret.get_secret_value()
    if not (text.isascii() and text.isprintable() and text == text.strip()):
        raise ValueError(
            "holds characters that cannot be sent in a header; copy it again, without line breaks"
        )
    return secret


HeaderSecret = Annotated[Secret, AfterValidator(_fit_for_a_header)]


def _url_shown(secret: SecretText) -> SecretText:
    """Let an address written into the file show all but its password."""
    if secret.shown != f'"{MASK}"':
        return secret
    text = secret.get_secret_value()
    # Up to the last @: a password may hold an unescaped @ or / of its own.
    text = re.sub(r"(://[^:/@]*):.*@", rf"\1:{MASK}@", text, flags=re.DOTALL)
    text = re.sub(r"(?i)(password)=[^&]*", rf"\1={MASK}", text)
    return SecretText(secret.get_secret_value(), toml_text(text))


def _warehouse_url(secret: SecretText) -> SecretText:
    url = secret.get_secret_value()
    if url != "embedded" and not url.startswith(("postgresql://", "postgres://")):
        raise ValueError(
            'must be "embedded" or an address like "postgresql://user:password@host:5432/database"'
        )
    return secret


def _proxy_url(secret: SecretText) -> SecretText:
    if not secret.get_secret_value().startswith(("http://", "https://")):
        raise ValueError('must be an address like "http://proxy.example.com:3128", or "" for none')
    return secret


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


WarehouseUrl = Annotated[Secret, AfterValidator(_warehouse_url), AfterValidator(_url_shown)]
ProxyUrl = Annotated[
    Annotated[Secret, AfterValidator(_proxy_url), AfterValidator(_url_shown)] | None,
    BeforeValidator(_none_if_empty),
]


def is_loopback(host: str) -> bool:
    """Whether the name or address can only mean this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _base_url(url: str) -> str:
    if "@" in url:
        raise ValueError("must not hold a user or a password; they belong in auth")
    scheme, host = _scheme_and_host(url)
    if scheme not in ("http", "https") or not host:
        raise ValueError(f'{quoted(url)} is not an address; write it like "https://gateway.example.com"')
    if scheme == "http" and not is_loopback(host):
        raise ValueError(f"{quoted(url)} is not encrypted; write https:// (http:// is for this machine only)")
    return url.rstrip("/")


def _scheme_and_host(url: str) -> tuple[str, str]:
    """Both empty where the text is no plain address: urlsplit itself forgives nearly everything."""
    try:
        parts = urlsplit(url)
        plain = parts.port != 0 and not re.search(r"[\s?#\\]", url)
    except ValueError:
        return "", ""
    return (parts.scheme, parts.hostname or "") if plain else ("", "")


def _listen(address: str) -> str:
    host, _, port = address.rpartition(":")
    if address and not (host and port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError(
            f'{quoted(address)} is not host:port; write it like "127.0.0.1:9108", or "" for none'
        )
    return address


BaseUrl = Annotated[str, AfterValidator(_base_url)]
Listen = Annotated[str, AfterValidator(_listen)]


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise ValueError(f"{quoted(name)} needs a home directory; write the whole path") from None


def _path(value: object) -> Path:
    if isinstance(value, str) and value:
        return _expanded(value)
    raise ValueError("must be a path in quotes")


def _existing_file(value: object) -> Path:
    path = _path(value)
    if not path.is_file():
        raise ValueError(
            f'there is no file {quoted(str(value))}; write the path of a PEM file, or "" for none'
        )
    return path


def _folder(value: object) -> Path:
    """Where there is no home, "~" stays: whether that matters depends on other keys."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be a path in quotes")
    with suppress(RuntimeError):
        return Path(value).expanduser()
    return Path(value)


Folder = Annotated[Path, BeforeValidator(_folder)]
ExistingFile = Annotated[
    Annotated[Path, BeforeValidator(_existing_file)] | None, BeforeValidator(_none_if_empty)
]
