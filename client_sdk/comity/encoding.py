"""Base64url, hash ids, and a strict JSON parser (spec/act.md, ACT-1 to ACT-4).

A signed text is never serialised again, so there is no canonical form. Whoever composes a text calls `dump_json` once;
from then on the bytes are the text.
"""

import binascii
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NoReturn

import msgspec

from comity.errors import Malformed, Refused

MAX_BODY = 64 * 1024
"""Bytes in one signed text or JSON body (ACT-1)."""

MAX_JWE = 49_152
"""Characters of an encrypted body (BODY-1)."""

MAX_DEPTH = 32
MAX_INTEGER = 2**53 - 1

_TO_URL = bytes.maketrans(b"+/", b"-_")
# Maps the characters that base64url does not have to one that base64 does not have either.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
_LAST_CHARACTERS = {2: frozenset(b"AQgw"), 3: frozenset(b"AEIMQUYcgkosw048")}
"""The characters that may end a text, by its length modulo four: they leave every unused bit zero."""


def b64u_encode(data: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL, b"=").decode("ascii")


def b64u_decode(text: str | bytes) -> bytes:
    """The bytes of an unpadded base64url text. Raises Malformed for every other spelling, so that each value has
    one."""
    try:
        raw = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError:
        raise Malformed("not base64url") from None
    rest = len(raw) % 4
    # Unused low bits in the last character would be a second spelling of the same bytes.
    if rest == 1 or (rest and raw[-1] not in _LAST_CHARACTERS[rest]):
        raise Malformed("not canonical base64url")
    try:
        return binascii.a2b_base64(raw.translate(_TO_STANDARD) + b"=" * (-len(raw) % 4), strict_mode=True)
    except binascii.Error:
        raise Malformed("not base64url") from None


def hash_id(data: bytes) -> str:
    """The id of a text: the base64url form of its SHA-256 (43 characters)."""
    return b64u_encode(hashlib.sha256(data).digest())


def dump_json(value: object) -> bytes:
    """The value as compact UTF-8 JSON. Raises ValueError for NaN and infinities."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")


def _refuse_constant(name: str) -> NoReturn:
    raise Malformed(f"JSON has no {name}")


def _finite_float(digits: str) -> float:
    number = float(digits)
    if number - number != 0.0:
        raise Malformed("a number is too large")
    return number


def _check_distinct_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Malformed("a member name appears twice")
    return members


def _bounded_integer(digits: str) -> int:
    # JavaScript reads -0 as a zero that is not the integer 0. 3.0 and 3e0 are fractions here, never integers.
    if digits == "-0":
        raise Malformed("an integer is spelled -0")
    number = int(digits)
    if not -MAX_INTEGER <= number <= MAX_INTEGER:
        raise Malformed("an integer is outside ±(2^53 - 1)")
    return number


# Built once: building a decoder costs as much as reading a short text.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_check_distinct_names,
    parse_constant=_refuse_constant,
    parse_float=_finite_float,
    parse_int=_bounded_integer,
)
# JSON of a few levels, all integers in range; the decoder above reads deeper texts.
_SCALAR = str | Annotated[int, msgspec.Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)] | float | bool | None
_LEVEL = _SCALAR | list[_SCALAR] | dict[str, _SCALAR]
for _ in range(3):
    _LEVEL = _SCALAR | list[_LEVEL] | dict[str, _LEVEL]  # type: ignore[misc]
_DECODE_PLAIN: Callable[[bytes], Any] = msgspec.json.Decoder(_LEVEL).decode
_ENCODE_PLAIN = msgspec.json.Encoder().encode
_NOT_PLAIN = object()


def parse_json(data: bytes, limit: int = MAX_BODY) -> Any:
    """Parses strict JSON: UTF-8 without BOM, no duplicate names, no NaN or infinities, integers within ±(2^53 - 1) and
    none spelled -0, at most 32 levels deep, no lone surrogates, at most `limit` bytes. A number with a fraction or an
    exponent is a float, whatever its value.

    Raises Malformed, or Refused("too_large") for more than `limit` bytes (RFC 8259, RFC 7493).
    """
    if len(data) > limit:
        raise Refused("too_large", f"at most {limit} bytes")
    value = _parse_plain(data)
    return _parse_any(data) if value is _NOT_PLAIN else value


def _parse_plain(data: bytes) -> Any:
    """The value of a text that msgspec writes back byte for byte, else `_NOT_PLAIN`. Most texts take this path, at a
    third of the cost.

    A text that is written back unchanged has no duplicate name, no NaN and no second spelling; `_DECODE_PLAIN` checks
    the range of the integers and the depth. This function refuses nothing: `_parse_any` decides about every other text.
    """
    try:
        value = _DECODE_PLAIN(data)
    except ValueError:
        return _NOT_PLAIN
    return value if _ENCODE_PLAIN(value) == data else _NOT_PLAIN


def _parse_any(data: bytes) -> Any:
    try:
        text = data.decode("utf-8")
        value = _DECODER.decode(text)
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
    except (ValueError, RecursionError):
        raise Malformed("not JSON") from None
    # Fewer brackets than levels allowed cannot be too deep, and without an escape there is no lone surrogate:
    # these two counts clear nearly every text, so that it is never walked.
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH or b"\\u" in data:
        _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level: list[Any] = [value]
    depth = 0
    while level:
        depth += 1
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                _no_lone_surrogate(item)
            elif isinstance(item, dict):
                for name in item:
                    _no_lone_surrogate(name)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if depth > MAX_DEPTH and any(isinstance(item, dict | list) for item in level):
            raise Malformed("JSON is nested too deeply")
        level = below


def _no_lone_surrogate(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("a text holds a lone surrogate") from None


def parse_object(data: bytes, limit: int = MAX_BODY) -> Mapping[str, Any]:
    """Parses strict JSON whose value is an object. Raises what `parse_json` raises, and Malformed for another value."""
    value = parse_json(data, limit)
    if not isinstance(value, dict):
        raise Malformed("not a JSON object")
    return value
