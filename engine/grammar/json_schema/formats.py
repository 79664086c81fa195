"""The formats that are enforced, each as an exact or a narrower regular language.

Where a format's own definition is wider than a regular expression can decide, or admits
forms that common parsers reject, the language is narrower, never wider: see
docs/structured-output.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from .numbers import Bound, NumberSet
from .pattern import Pattern, parse


@dataclass(frozen=True, slots=True)
class Format:
    """What a format asks of strings: match all of ``patterns``.

    ``narrow``: strings outside the language may be valid too, so it cannot be negated.
    """

    patterns: tuple[Pattern, ...]
    narrow: bool = True


# RFC 3339, without the year 0000, leap seconds and lower-case letters, which common
# parsers reject.
_YEAR = "(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_LEAP = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DATE = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    f"|{_LEAP}-02-29)"
)
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_TIME = rf"{_CLOCK}:[0-5][0-9](?:\.[0-9]{{1,9}})?(?:Z|[+-]{_CLOCK})"
# RFC 3339, appendix A; numbers of up to nine digits.
_DAYS = "(?:{n}Y(?:{n}M(?:{n}D)?)?|{n}M(?:{n}D)?|{n}D)".replace("{n}", "[0-9]{1,9}")
_HOURS = "T(?:{n}H(?:{n}M(?:{n}S)?)?|{n}M(?:{n}S)?|{n}S)".replace("{n}", "[0-9]{1,9}")
_DURATION = f"P(?:{_DAYS}(?:{_HOURS})?|{_HOURS}|[0-9]{{1,9}}W)"
# RFC 1123. Labels with two hyphens in the third place are left out, because those of
# internationalized names (RFC 5890) are no regular language. Four labels of 62 characters
# at most stay below the 253 that a name may have.
_LABEL = (
    "[A-Za-z0-9](?:[A-Za-z0-9-]?[A-Za-z0-9]|[A-Za-z0-9-]{2}[A-Za-z0-9]"
    "|[A-Za-z0-9-](?:[A-Za-z0-9][A-Za-z0-9-]|-[A-Za-z0-9])[A-Za-z0-9-]{0,57}[A-Za-z0-9])?"
)
_HOST = rf"{_LABEL}(?:\.{_LABEL}){{0,3}}"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_H16 = "[0-9a-fA-F]{1,4}"


def _ipv6() -> str:
    """RFC 4291, 2.2: eight groups, one run of them left out, the last two as IPv4."""
    options = [f"{_H16}(?::{_H16}){{7}}", f"{_H16}(?::{_H16}){{5}}:{_IPV4}", "::"]
    for before in range(8):
        head = f"{_H16}(?::{_H16}){{{before - 1}}}::" if before else "::"
        room = 7 - before
        tails = [f"{_H16}(?::{_H16}){{0,{room - 1}}}"] if room else []
        if room >= 2:
            tails.append(f"(?:{_H16}:){{0,{room - 2}}}{_IPV4}")
        optional = "?" if before else ""
        options.append(f"{head}(?:{'|'.join(tails)}){optional}" if tails else head)
    return f"(?:{'|'.join(options)})"


# RFC 3986, appendix A.
_PCHAR = "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9a-fA-F]{2})"
_QUERY = f"(?:{_PCHAR}|[/?])*"
_SEGMENTS = f"(?:/{_PCHAR}*)*"
_NAME = "(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9a-fA-F]{2})*"
_FUTURE = r"v[0-9a-fA-F]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+"
_USER = "(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9a-fA-F]{2})*@"
_AUTHORITY = rf"//(?:{_USER})?(?:\[(?:{_ipv6()}|{_FUTURE})\]|{_NAME})(?::[0-9]*)?{_SEGMENTS}"
_ABSOLUTE = f"/(?:{_PCHAR}+{_SEGMENTS})?"
_TAIL = rf"(?:\?{_QUERY})?(?:#{_QUERY})?"
_URI = rf"[A-Za-z][A-Za-z0-9+.-]*:(?:{_AUTHORITY}|{_ABSOLUTE}|{_PCHAR}+{_SEGMENTS}|){_TAIL}"
_NO_COLON = "(?:[A-Za-z0-9._~!$&'()*+,;=@-]|%[0-9a-fA-F]{2})+"
_RELATIVE = f"(?:{_AUTHORITY}|{_ABSOLUTE}|{_NO_COLON}{_SEGMENTS}|){_TAIL}"
# RFC 6570.
_VARNAME = r"(?:[A-Za-z0-9_]|%[0-9a-fA-F]{2})(?:\.?(?:[A-Za-z0-9_]|%[0-9a-fA-F]{2}))*"
_VARSPEC = rf"{_VARNAME}(?::[1-9][0-9]{{0,3}}|\*)?"
_LITERAL = r"(?:[!#$&(-;=?-\[\]_a-z~]|%[0-9a-fA-F]{2})"
_TEMPLATE = rf"(?:{_LITERAL}|\{{[+#./;?&]?{_VARSPEC}(?:,{_VARSPEC})*\}})*"
_POINTER = "(?:/(?:[^~/]|~[01])*)*"
# RFC 5321, Mailbox without quoted local parts.
_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_MAILBOX = rf"(?:{_HOST}|\[{_IPV4}\])"
_BASE64 = "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"

_EXACT = {
    "ipv4": _IPV4,
    "ipv6": _ipv6(),
    "uuid": "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    "uri": _URI,
    "uri-reference": f"(?:{_URI}|{_RELATIVE})",
    "uri-template": _TEMPLATE,
    "json-pointer": _POINTER,
    "relative-json-pointer": f"(?:0|[1-9][0-9]*)(?:#|{_POINTER})",
    "password": r"[^]*".replace("[^]", r"[\s\S]"),
}
_NARROW = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": _DURATION,
    "hostname": _HOST,
    "idn-hostname": _HOST,
    "email": rf"{_ATOM}(?:\.{_ATOM})*@{_MAILBOX}",
    "idn-email": rf"{_ATOM}(?:\.{_ATOM})*@{_MAILBOX}",
    "iri": _URI,
    "iri-reference": f"(?:{_URI}|{_RELATIVE})",
    "byte": _BASE64,
    "base64": _BASE64,
}
# The longest local part (RFC 5321, 4.5.3.1.1).
_ALSO = dict.fromkeys(("email", "idn-email"), "^[^@]{1,64}@")


@cache
def string_format(name: str) -> Format | None:
    """What a format asks of strings; None: it is not known, or only of numbers."""
    if name in _EXACT:
        return Format((parse(f"^(?:{_EXACT[name]})$"),), narrow=False)
    if name not in _NARROW:
        return None
    patterns = [parse(f"^(?:{_NARROW[name]})$")]
    if name in _ALSO:
        patterns.append(parse(_ALSO[name]))
    return Format(tuple(patterns))


def _between(low: int, high: int, *, integer: bool) -> NumberSet:
    bounds = Bound(Decimal(low)), Bound(Decimal(high))
    return NumberSet(*bounds, integer=True if integer else None)


# As OpenAPI and generators of schemas from types (schemars, for one) use them.
_NUMBERS = {
    **{f"int{bits}": _between(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, integer=True)
       for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": _between(0, 2**bits - 1, integer=True) for bits in (8, 16, 32, 64)},
    "int": _between(-(2**63), 2**63 - 1, integer=True),
    "uint": _between(0, 2**64 - 1, integer=True),
    "float": _between(-(10**38), 10**38, integer=False),
    "double": _between(-(10**38), 10**38, integer=False),
}  # fmt: skip


def number_format(name: str) -> NumberSet | None:
    """What a format asks of numbers; None: it is not known, or only of strings."""
    return _NUMBERS.get(name)


FORMATS = tuple(sorted([*_EXACT, *_NARROW, *_NUMBERS]))
