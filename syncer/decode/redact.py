"""Takes secrets out of whatever a source sent, before anything is written.

Invariant: what matches an entry of `redact_keys` (object keys, {"key" or "name": K, "value": V}, strings
"K=V") leaves here as "[redacted]"; where nothing matches, the same object comes back. JSON in a string is
searched like any other, and keeps its form; where it is cut short or stands among words, what follows a
matching key in quotes goes. A string that hides an entry in base64 or packed goes whole. Bytes that cannot
be parsed are kept only when no entry occurs in them. Knows nothing of records or platforms.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from syncer.decode import jsonb, packed
from syncer.decode.needles import Needles
from syncer.decode.scan import has_escape
from syncer.decode.text import repair

REDACTED = "[redacted]"
# Raw bytes are searched as far as they inflate, up to here; nobody can vouch for what goes on beyond.
SEARCH_AT_MOST = 512 * 1024 * 1024
# What inflates to no more than this is opened further, layer by layer; all layers together may hold _OPENED.
_KEPT, _OPENED = 512 * 1024, 16 * 1024 * 1024
# JSON in a string in JSON: so deep it is read, and beyond that a string with an entry in it goes whole.
_LAYERS = 4
# The verdict on keys and the like is remembered; a hostile source must not fill memory.
_REMEMBERED, _LONGEST_REMEMBERED = 10_000, 100
# The kinds of keys: of no interest; of a secret; the two of a pair {"name": K, "value": V}; a "K=V" itself.
_PLAIN, _SECRET, _NAME, _VALUE, _ASSIGNMENT = "", "secret", "name", "value", "assignment"

# The one letter beyond ASCII that is within it in lower case: U+212A, the Kelvin sign, is k.
_KELVIN = "\u212a".encode()
_LOWER = bytes(range(256)).lower()
_ASCII_ESCAPE = re.compile(r"(?<!\\)\\++u(00[2-7][0-9a-fA-F]|212[aA])")
_ANY_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_CUT_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
# A key in quotes and a colon, as JSON, Python and JavaScript write them, escaped or not; and a value thereafter.
_KEY = re.compile(r"""(?<!\\)(?P<quote>\\*+["'])(?P<key>[^"'\\]*+)(?P=quote)\s*+:\s*+""")
_NOTHING = re.compile(r"(?:null|None|undefined)\b")
_QUOTED = re.compile(r"""[bru]{0,2}(?P<mark>\\*+["'])(?P<said>.*?)(?<!\\)(?P=mark)""", re.DOTALL)
_SCALAR = re.compile(r"(?P<said>\[redacted\]|[\w.+-]++)(?=\s*+[,}\])])")
_PARSER = msgspec.json.Decoder(float_hook=lambda digits: msgspec.Raw(digits.encode()))
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_RAW = msgspec.json.Decoder(msgspec.Raw)
_QUOTE = ord('"')
# Up to so many bytes a document is opened level by level, and only where something occurs; a longer one is parsed
# whole, for what is not parsed takes more room, and depth would be searched again and again.
_LEVEL_BY_LEVEL = 64 * 1024

# Stands between values that are searched together: no JSON text holds it.
_BETWEEN = b"\x00"

# Without any of them no string holds a "K=V" or quotes.
_MARKS = Needles([b"=", b'\\"', b"'", b"\\u00"])

# Where a value stands: the place of its container, and its key or index there. The root is index 0 of None.
_Place = tuple[Any, str | int]
_Look = Callable[[str], str]


class Redactor:
    """The entries of `redact_keys`, ready to be looked for."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._entries = tuple(sorted({entry for key in keys if (entry := _normal(key))}))
        self._longest = max(map(len, self._entries), default=1)
        # Only what JSON never escapes, or only in ways undone here, can be looked for without parsing.
        self._searchable = all(entry.isascii() and entry.isalnum() for entry in self._entries)
        self._needles = Needles(map(str.encode, self._entries))
        self._kinds = _Remembered(self._kind)
        self._without_assigned = _Remembered(self._cut)

    def matches(self, key: str) -> bool:
        """Whether a key of this name holds a secret."""
        return _normal(key).endswith(self._entries)

    def text(self, text: str, layers: int = _LAYERS) -> str:
        """The text without its secrets: those of the JSON that it is, up to so many layers deep, or else what
        follows a matching key in quotes and a colon, or "K=" to the end."""
        if '"' in text or "'" in text:
            inner = self._inside(text, layers)
            if inner is not None:
                return inner
            text = self._without_keyed(text)
        return (self._without_assigned[text] or text) if "=" in text else text

    def json(self, raw: bytes) -> tuple[bytes, tuple[str, ...]]:
        """The JSON text without its secrets, and the JSON Pointers of the values replaced. What cannot be
        parsed is replaced as a whole if an entry occurs in it."""
        if self._is_clean(raw):
            return raw, ()
        try:
            return self._parsed(raw, _LAYERS)
        except ValueError:
            return (raw, ()) if self.raw(raw) is not None else (f'"{REDACTED}"'.encode(), ("",))

    def record(self, raw: bytes) -> bytes | None:
        """A record as bytes to be kept: without its secrets where it is JSON, else as `raw` has it."""
        try:
            root = [_PARSER.decode(raw)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self.raw(raw)
        if self._is_clean(raw):
            return raw
        self._redact(root, self._looks(raw, _LAYERS))
        return msgspec.json.encode(root[0])  # anew: of a key sent twice nobody saw the first

    def occurs(self, raw: bytes) -> bool:
        """Whether any entry occurs anywhere in these bytes."""
        if self._searchable and not has_escape(raw):
            return self._needles.occur_in(_normal_bytes(raw))
        return self._holds_entry(self._searched_form(raw.decode(errors="replace")))

    def raw(self, value: bytes) -> bytes | None:
        """Bytes that cannot be parsed, kept if no entry occurs in them: as sent, out of base64, inflated."""
        data = packed.unbase64(value)
        if self.occurs(value) or (data is not None and self.occurs(data)):
            return None
        return None if self._hides(value if data is None else data) else value

    def _is_clean(self, raw: bytes) -> bool:
        return self._searchable and not self.occurs(raw) and not packed.may_hold(raw)

    def _holds_entry(self, normal: str) -> bool:
        return self._needles.occur_in(normal.encode(errors="surrogatepass"))

    def _searched_form(self, text: str) -> str:
        if "\\u" in text:
            escape = _ASCII_ESCAPE if self._searchable else _ANY_ESCAPE
            text = escape.sub(lambda found: chr(int(found[1], 16)), text)
        return _normal(text if self._searchable else text.replace("\\", ""))

    def _parsed(self, raw: bytes, layers: int) -> tuple[bytes, tuple[str, ...]]:
        """As `json`; ValueError where it is none. What only a lenient parser reads is read from a mended copy."""
        try:
            root = [self._root(raw.strip())]
            places = self._redact(root, self._looks(raw, layers))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            mended = jsonb.repair(raw)
            if mended is None:
                raise ValueError("nested too deeply") from None
            root = [_PARSER.decode(mended)]
            places = self._redact(root, self._looks(raw, layers))
        if not places:
            return raw, ()
        return msgspec.json.encode(root[0]), tuple(sorted({_pointer(place) for place in places}))

    def _looks(self, raw: bytes, layers: int) -> list[_Look]:
        """What has to be done with each string of this JSON text; where none of it can matter, nothing."""
        looks: list[_Look] = []
        if _MARKS.occur_in(raw):
            looks.append(lambda text: self.text(text, layers))
        if packed.may_hold(raw):
            looks.append(lambda text: REDACTED if self._hides(text.encode()) else text)
        return looks

    def _inside(self, text: str, layers: int) -> str | None:
        """The text as JSON without its secrets; None where it is none."""
        if text.lstrip()[:1] not in ("{", "[", '"'):
            return None
        raw = text.encode(errors="replace")
        if self._is_clean(raw):
            return text
        if not layers:
            return text if self.raw(raw) is not None else REDACTED
        try:
            clean, paths = self._parsed(raw, layers - 1)
        except ValueError:
            return None
        return clean.decode() if paths else text

    def _without_keyed(self, text: str) -> str:
        """A string that is cut short or followed by anything but a scalar takes all that follows with it."""
        parts: list[str] = []
        at = 0
        for key in _KEY.finditer(text):
            if key.start() < at or not self.matches(key["key"]) or _NOTHING.match(text, key.end()):
                continue
            said = _QUOTED.match(text, key.end()) or _SCALAR.match(text, key.end())
            if said is None:
                parts += [text[at : key.end()], REDACTED]
                at = len(text)
                break
            parts += [text[at : said.start("said")], REDACTED]
            at = said.end("said")
        clean = "".join([*parts, text[at:]])
        return text if clean == text else clean

    def _cut(self, text: str) -> str:
        """ "K=V" becomes "K=[redacted]": whatever follows the first = that has a matching key before it. Nothing where
        nothing goes."""
        tail, start = "", 0
        while (at := text.find("=", start)) >= 0:
            # Only the end of what stands before can match, so the time is linear however many = there are.
            tail = (tail + _normal(text[start:at]))[-self._longest :]
            start = at + 1
            if start < len(text) and tail.endswith(self._entries):
                return "" if text[start:] == REDACTED else text[:start] + REDACTED
            tail += "="
        return ""

    def _hides(self, data: bytes) -> bool:
        """Whether an entry occurs in something packed, or in base64, in these bytes, layer in layer; what
        nobody can vouch for counts."""
        waiting, opened = [data], 0
        while waiting:
            found: bytes | None = waiting.pop()
            if found is not None and packed.is_packed(found):
                found = self._inflated(found)
            if found is None or opened > _OPENED:
                return True
            inner = list(packed.embedded(found))
            if any(map(self.occurs, inner)):
                return True
            waiting += inner
            opened += len(found)
        return False

    def _inflated(self, data: bytes) -> bytes | None:
        """What this inflates to, nothing where that is long; None if an entry occurs or may hide in it."""
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        searched, tail, rest, kept, hides = 0, "", "", bytearray(), False
        last: tuple[str, str, bytes] | None = None
        for piece in packed.inflated(data):
            searched += len(piece)
            kept += piece if searched <= _KEPT else b""
            if last == (tail, rest, piece):
                continue  # a bomb repeats itself
            last = tail, rest, piece
            text = rest + decode(piece)
            cut = _CUT_ESCAPE.search(text, max(0, len(text) - 6))
            rest = text[cut.start() :] if cut else ""
            normal = tail + self._searched_form(text[: len(text) - len(rest)])
            if searched > SEARCH_AT_MOST or self._holds_entry(normal):
                return None
            tail = normal[-self._longest :]
            hides = hides or packed.may_hold(piece)
        if searched <= _KEPT:
            return bytes(kept)
        return None if hides else b""

    def _redact(self, root: list[Any], looks: Sequence[_Look]) -> list[_Place]:
        """Replace in place, without recursion: a document may be as deep as the interpreter's stack."""
        places: list[_Place] = []
        waiting: list[tuple[Any, Any]] = [(root, None)]
        while waiting:
            node, place = waiting.pop()
            is_object = type(node) is dict
            secrets: Collection[str] = ()
            if is_object and (special := [*filter(self._kinds.__getitem__, node)]):
                kinds = {key: self._kinds[key] for key in special}
                places += [(place, key) for key in self._rename(node, kinds)]
                secrets = self._secret_keys(node, kinds)
            for key in {*self._suspects(node), *secrets}:
                value = node[key]
                clean = _hidden(value) if key in secrets else self._opened(value, looks)
                if type(clean) in (dict, list):
                    node[key] = clean
                    waiting.append((clean, (place, key)))
                elif clean is not value:
                    node[key] = clean
                    places.append((place, key))
        return places

    def _suspects(self, node: Any) -> Iterable[Any]:
        """The keys of an object, or the indexes of an array, whose values have to be looked at: all where they are
        parsed, the only one, else those in which an entry occurs, or something packed. All are searched at once."""
        is_object = type(node) is dict
        keys, values = ([*node], node.values()) if is_object else (range(len(node)), node)
        if len(node) == 1 or {*map(type, values)} != {msgspec.Raw}:
            return keys
        text = _BETWEEN.join(values)
        if has_escape(text) or len(text) > _LEVEL_BY_LEVEL:
            return [key for key, value in zip(keys, values, strict=True) if not self._is_clean(bytes(value))]
        found = {*self._needles.parts_with(_normal_bytes(text), _BETWEEN)}
        return [keys[part] for part in {*found, *packed.WORTH_A_LOOK.parts_with(text, _BETWEEN)}]

    def _opened(self, value: Any, looks: Sequence[_Look]) -> Any:
        """The value itself where nothing in it matters, text without its secrets, or an object or array to go on
        with."""
        if type(value) is str:
            return _seen(value, looks)
        if type(value) is not msgspec.Raw:
            return value
        raw = bytes(value)
        if raw[0] not in b'{["' or (raw[0] == _QUOTE and not looks):
            return value
        found = self._level(raw)
        if type(found) is not str:
            return found
        clean = _seen(found, looks)
        return value if clean is found else clean

    def _root(self, raw: bytes) -> Any:
        """A document as far as it is opened at first, all of it proved to be JSON."""
        return self._level(raw if raw[:1] in (b"{", b"[") else bytes(_RAW.decode(raw)))

    def _level(self, raw: bytes) -> Any:
        """Text, or an object or array whose values are left as they are; anything else as it is."""
        if raw[0] == _QUOTE:
            return _TEXT.decode(raw)
        if raw[0] not in b"{[":
            return msgspec.Raw(raw)
        if not self._searchable or len(raw) > _LEVEL_BY_LEVEL:
            return _PARSER.decode(raw)
        return _OBJECT.decode(raw) if raw[:1] == b"{" else _ARRAY.decode(raw)

    def _kind(self, key: str) -> str:
        """What a key means."""
        if self.matches(key):
            return _SECRET
        if self.text(key) is not key:
            return _ASSIGNMENT
        return {"key": _NAME, "name": _NAME, "value": _VALUE}.get(key.lower(), _PLAIN)

    def _rename(self, node: dict[str, Any], kinds: Mapping[str, str]) -> list[str]:
        """Mend the keys of an object that are a "K=V" themselves; their new names."""
        old = [key for key, kind in kinds.items() if kind == _ASSIGNMENT]
        new = [self.text(key) for key in old]
        for before, after in zip(old, new, strict=True):
            node[after] = node.pop(before)
        return new

    def _secret_keys(self, node: dict[str, Any], kinds: Mapping[str, str]) -> Collection[str]:
        """The keys of an object whose values must go."""
        secrets = {key for key, kind in kinds.items() if kind == _SECRET}
        names = [_text(node[key]) for key, kind in kinds.items() if kind == _NAME]
        if any(self._kinds[name] == _SECRET for name in names):
            secrets |= {key for key, kind in kinds.items() if kind == _VALUE}
        return secrets


class _Remembered(dict[str, str]):
    """What is known of a text, remembered because keys and tags repeat in every record."""

    def __init__(self, judge: Callable[[str], str]) -> None:
        super().__init__()
        self._judge = judge

    def __missing__(self, text: str) -> str:
        verdict = self._judge(text)
        if len(self) >= _REMEMBERED:
            self.clear()
        if len(text) <= _LONGEST_REMEMBERED:
            self[text] = verdict
        return verdict


def _seen(text: str, looks: Iterable[_Look]) -> str:
    for look in looks:
        text = look(text)
    return text


def _text(value: Any) -> str:
    """A string, parsed or not; anything else is the empty one."""
    if type(value) is msgspec.Raw and bytes(value).startswith(b'"'):
        return _TEXT.decode(value)
    return value if type(value) is str else ""


def _hidden(value: Any) -> Any:
    """What stands in place of a secret; null is none."""
    is_null = value is None or (type(value) is msgspec.Raw and bytes(value) == b"null")
    return value if is_null else REDACTED


def _normal(text: str) -> str:
    return text.lower().replace("-", "").replace("_", "").replace(" ", "")


def _normal_bytes(raw: bytes) -> bytes:
    """As `_normal`, as far as an entry in ASCII can tell."""
    if not raw.isascii():
        raw = raw.replace(_KELVIN, b"k")
    return raw.translate(_LOWER, b"-_ ")


def _pointer(place: _Place) -> str:
    parts: list[str] = []
    at: _Place | None = place
    while at is not None:
        at, key = at
        part = str(key)
        parts.append(part if part.isalnum() else part.replace("~", "~0").replace("/", "~1"))
    return repair("".join("/" + part for part in reversed(parts[:-1])))
