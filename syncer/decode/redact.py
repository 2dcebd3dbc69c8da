"""Takes secrets out of whatever a source sent, before anything is written.

Invariant: what matches an entry of `redact_keys` (object keys, {"key" or "name": K, "value": V}, strings
"K=V") leaves here as "[redacted]"; where nothing matches, the same object comes back. Bytes that cannot be
parsed are kept only when no entry occurs in them. Knows nothing of records or platforms.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Container, Iterable
from typing import Any

import msgspec

from syncer.decode import jsonb, packed
from syncer.decode.text import repair

REDACTED = "[redacted]"
# Raw bytes are searched as far as they inflate, up to here; nobody can vouch for what goes on beyond.
SEARCH_AT_MOST = 512 * 1024 * 1024
# Keys repeat in every record, so the verdict on them is remembered; a hostile source must not fill memory.
_REMEMBERED, _LONGEST_REMEMBERED = 10_000, 100
# The kinds of keys: of no interest; of a secret; the two of a pair {"name": K, "value": V}; a "K=V" itself.
_PLAIN, _SECRET, _NAME, _VALUE, _ASSIGNMENT = "", "secret", "name", "value", "assignment"

# U+212A, the Kelvin sign, is k in lower case.
_ASCII_ESCAPE = re.compile(r"\\u(00[2-7][0-9a-fA-F]|212[aA])")
_ANY_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_CUT_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_PARSER = msgspec.json.Decoder(float_hook=lambda digits: msgspec.Raw(digits.encode()))

# Where a value stands: the place of its container, and its key or index there. The root is index 0 of None.
_Place = tuple[Any, str | int]


class Redactor:
    """The entries of `redact_keys`, ready to be looked for."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._entries = tuple(sorted({entry for key in keys if (entry := _normal(key))}))
        self._longest = max(map(len, self._entries), default=1)
        # Only what JSON never escapes, or only in ways undone here, can be looked for without parsing.
        self._searchable = all(entry.isascii() and entry.isalnum() for entry in self._entries)
        self._kinds = _Kinds(self)

    def matches(self, key: str) -> bool:
        """Whether a key of this name holds a secret."""
        return _normal(key).endswith(self._entries)

    def text(self, text: str) -> str:
        """ "K=V" becomes "K=[redacted]": whatever follows the first = that has a matching key before it."""
        tail, start = "", 0
        while (at := text.find("=", start)) >= 0:
            # Only the end of what stands before can match, so the time is linear however many = there are.
            tail = (tail + _normal(text[start:at]))[-self._longest :]
            start = at + 1
            if start < len(text) and tail.endswith(self._entries):
                return text if text[start:] == REDACTED else text[:start] + REDACTED
            tail += "="
        return text

    def json(self, raw: bytes) -> tuple[bytes, tuple[str, ...]]:
        """The JSON text without its secrets, and the JSON Pointers of the values replaced. What cannot be
        parsed is replaced as a whole if an entry occurs in it."""
        if self._is_clean(raw):
            return raw, ()
        try:
            root = [_parse(raw)]
        except ValueError:
            return (raw, ()) if self.raw(raw) is not None else (f'"{REDACTED}"'.encode(), ("",))
        places = self._redact(root, look_inside=packed.may_hold(raw))
        if not places:
            return raw, ()
        return msgspec.json.encode(root[0]), tuple(sorted({_pointer(place) for place in places}))

    def occurs(self, raw: bytes) -> bool:
        """Whether any entry occurs anywhere in these bytes."""
        return self._holds_entry(self._searched_form(raw.decode(errors="replace")))

    def raw(self, value: bytes) -> bytes | None:
        """Bytes that cannot be parsed, kept if no entry occurs in them: as sent, out of base64, inflated."""
        data = packed.unbase64(value)
        if self.occurs(value) or (data is not None and self.occurs(data)):
            return None
        streams = [found for found in (value, data) if found is not None and packed.is_packed(found)]
        hidden = any(map(self._occurs_inflated, streams)) if streams else self._hides(value)
        return None if hidden else value

    def _is_clean(self, raw: bytes) -> bool:
        return self._searchable and not self.occurs(raw) and not packed.may_hold(raw)

    def _holds_entry(self, normal: str) -> bool:
        return any(entry in normal for entry in self._entries)

    def _searched_form(self, text: str) -> str:
        if "\\u" in text:
            escape = _ASCII_ESCAPE if self._searchable else _ANY_ESCAPE
            text = escape.sub(lambda found: chr(int(found[1], 16)), text)
        return _normal(text if self._searchable else text.replace("\\", ""))

    def _hides(self, text: bytes) -> bool:
        """Whether an entry occurs in something packed inside this text."""
        return any(map(self._occurs_inflated, packed.embedded(text)))

    def _occurs_inflated(self, data: bytes) -> bool:
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        searched, tail, rest = 0, "", ""
        last: tuple[str, str, bytes] | None = None
        for piece in packed.inflated(data):
            searched += len(piece)
            if last == (tail, rest, piece):
                continue  # a bomb repeats itself
            last = tail, rest, piece
            text = rest + decode(piece)
            cut = _CUT_ESCAPE.search(text, max(0, len(text) - 6))
            rest = text[cut.start() :] if cut else ""
            normal = tail + self._searched_form(text[: len(text) - len(rest)])
            if searched > SEARCH_AT_MOST or self._holds_entry(normal):
                return True
            tail = normal[-self._longest :]
        return False

    def _redact(self, root: list[Any], *, look_inside: bool) -> list[_Place]:
        """Replace in place, without recursion: a document may be as deep as the interpreter's stack."""
        places: list[_Place] = []
        waiting: list[tuple[Any, Any]] = [(root, None)]
        while waiting:
            node, place = waiting.pop()
            is_object = type(node) is dict
            if is_object:
                places += [(place, key) for key in self._rename(node)]
            secrets = self._secret_keys(node) if is_object else ()
            for key, value in node.items() if is_object else enumerate(node):
                if type(value) is str:
                    clean = REDACTED if key in secrets else self.text(value) if "=" in value else value
                    if look_inside and clean is value and self._hides(value.encode()):
                        clean = REDACTED
                    if clean is value:
                        continue
                elif key in secrets and value is not None:
                    clean = REDACTED
                else:
                    if type(value) is dict or type(value) is list:
                        waiting.append((value, (place, key)))
                    continue
                node[key] = clean
                places.append((place, key))
        return places

    def _rename(self, node: dict[str, Any]) -> list[str]:
        """Mend the keys of an object that are a "K=V" themselves; their new names."""
        old = [key for key in node if "=" in key and self._kinds[key] == _ASSIGNMENT]
        new = [self.text(key) for key in old]
        for before, after in zip(old, new, strict=True):
            node[after] = node.pop(before)
        return new

    def _secret_keys(self, node: dict[str, Any]) -> Container[str]:
        """The keys of an object whose values must go."""
        kinds = self._kinds
        special = [key for key in node if kinds[key]]
        if not special:
            return ()
        secrets = [key for key in special if kinds[key] == _SECRET]
        if any(kinds[key] == _NAME and _is_text(node[key]) and self.matches(node[key]) for key in special):
            secrets += [key for key in special if kinds[key] == _VALUE]
        return secrets


class _Kinds(dict[str, str]):
    """What a key means, remembered because keys repeat in every record."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def __missing__(self, key: str) -> str:
        kind = self._judge(key)
        if len(self) >= _REMEMBERED:
            self.clear()
        if len(key) <= _LONGEST_REMEMBERED:
            self[key] = kind
        return kind

    def _judge(self, key: str) -> str:
        if self._redactor.matches(key):
            return _SECRET
        if self._redactor.text(key) is not key:
            return _ASSIGNMENT
        return {"key": _NAME, "name": _NAME, "value": _VALUE}.get(key.lower(), _PLAIN)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _normal(text: str) -> str:
    return text.lower().replace("-", "").replace("_", "").replace(" ", "")


def _parse(raw: bytes) -> Any:
    """Values of which no number is rounded; what only a lenient parser reads is read from a mended copy."""
    try:
        return _PARSER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        mended = jsonb.repair(raw)
        if mended is None:
            raise ValueError("nested too deeply") from None
        return _PARSER.decode(mended)


def _pointer(place: _Place) -> str:
    parts: list[str] = []
    at: _Place | None = place
    while at is not None:
        at, key = at
        parts.append(str(key).replace("~", "~0").replace("/", "~1"))
    return repair("".join("/" + part for part in reversed(parts[:-1])))
