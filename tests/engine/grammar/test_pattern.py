"""ECMA-262 patterns: the language of the grammar is what a search finds."""

from __future__ import annotations

import json

import pytest
from llguidance import LLMatcher, LLTokenizer

from mlxforge.engine.grammar.json_schema.errors import BadPattern
from mlxforge.engine.grammar.json_schema.formats import FORMATS, string_format
from mlxforge.engine.grammar.json_schema.pattern import parse
from mlxforge.engine.grammar.json_schema.strings import StringSet

from .suite import admits

STRINGS = [
    "", "a", "b", "ab", "ba", "aab", "abc", "xaby", "A1", "Ab12cd", 'say "hi"', "back\\slash",
    "tab\there", "line\nbreak", "\x01", "é", "日本", "😀", "1", "12-34", "a.b", "_", " ", "~/",
    "ABC", "aXb", "foo", "foobar", "barfoo",
]  # fmt: skip
PATTERNS = [
    "", "a", "^a", "a$", "^a$", "^a*$", "a|b", "^a|b$", "^(a|b)+$", "^[a-c]{2,3}$", ".", "^.$",
    "^\\w+$", "\\W", "^\\S+$", "\\s", "^\\d+$", "\\D", '["\\\\]', '^[^"\\\\]*$', "[\\x00-\\x1f]",
    "^\\p{L}+$", "\\p{Lu}", "^\\P{L}$", "\\u00e9", "\\u{1F600}", "\\uD83D\\uDE00", "(^foo|bar$)",
    "^(?=.*[A-Z])(?=.*[0-9]).{2,8}$", "^(?!foo).*$", "^(?:a(?:b|c)?)*$", "^[\\w.-]+$", "\\/",
    "^$", "[^]"[:2] + "a]", "^(?<name>a)b?$", "a{0}b", "^a+?b*?$",
]  # fmt: skip


def matcher(strings: StringSet) -> LLMatcher:
    source = f"start: S\nS: /\\x22/ ({strings.content()}) /\\x22/\n"
    found = LLMatcher(LLTokenizer("byte"), source, log_level=0)
    assert not found.is_error(), found.get_error()
    return found


@pytest.mark.parametrize("pattern", PATTERNS)
def test_grammar_and_search_agree(pattern: str) -> None:
    compiled = parse(pattern)
    for strings in (StringSet(patterns=(compiled,)), StringSet(forbidden=(compiled,))):
        grammar = matcher(strings)
        for text in STRINGS:
            spelled = json.dumps(text, ensure_ascii=False).encode()
            assert admits(grammar, spelled) == strings.contains(text), text


@pytest.mark.parametrize(
    "pattern",
    ["(a", "a)", "[z-a]", "a{2,1}", "(a)\\1", "(?<=a)b", "\\bfoo", "a**", "(?i)a", "\\a", "a^b",
     "[\\d-z]", "\\k<x>", "(?=a)b", "\\p{Nope}", "a{99999}", "(" * 200 + ")" * 200],
)  # fmt: skip
def test_what_has_no_grammar_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        parse(pattern)


EXAMPLES = {
    "date": (["2024-02-29", "2000-02-29"], ["2023-02-29", "1900-02-29", "2024-04-31"]),
    "time": (["10:20:30Z", "10:20:30.5+02:00"], ["10:20:30", "24:00:00Z", "10:60:00Z"]),
    "date-time": (["2024-02-29T10:20:30Z"], ["2024-02-30T10:20:30Z", "2024-02-29 10:20:30Z"]),
    "duration": (["P1Y2M3D", "PT1H", "P2W"], ["P", "PT", "1D", "P1D2H"]),
    "email": (["a.b@example.com"], ["a@", "@b", "a..b@c.de", ".a@b.c"]),
    "hostname": (["example.com", "a-b"], ["-a", "a_b", "xn--x", ""]),
    "ipv4": (["127.0.0.1"], ["256.1.1.1", "1.2.3", "01.2.3.4"]),
    "ipv6": (["::1", "2001:db8::8:800:200c:417a"], ["::1::", "1:2:3", "12345::"]),
    "uuid": (["2eb8aa08-aa98-11ea-b4aa-73b441d16380"], ["2eb8aa08aa9811eab4aa73b441d16380"]),
    "uri": (["https://a.b/c?d#e", "urn:x:y"], ["a b", "//a", "http://[::1"]),
    "uri-reference": (["/a", "#x", "a/b"], ["\\\\a"]),
    "json-pointer": (["", "/a~0b"], ["a", "/~2"]),
    "base64": (["", "TWFu", "TWE="], ["TWE", "T==="]),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_formats(name: str) -> None:
    found = string_format(name)
    assert found is not None and name in FORMATS
    strings = StringSet(patterns=found.patterns)
    grammar = matcher(strings)
    for expected, texts in zip((True, False), EXAMPLES[name], strict=True):
        for text in texts:
            assert strings.contains(text) == expected, text
            assert admits(grammar, json.dumps(text).encode()) == expected, text
