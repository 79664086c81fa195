"""Compiling: kinds of constraints, errors, the cache, bombs and a helper that dies."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mlxforge.engine.errors import EngineError, InvalidRequest, ResourceExhausted
from mlxforge.engine.grammar import GrammarCompiler, fill_masks
from mlxforge.engine.request import Constraint, ConstraintKind
from mlxforge.engine.tokenizer import Tokenizer

from .walk import walk


def allowed_seconds() -> float:
    """Two, and as much more as other work on this machine makes everything take longer."""
    return 2.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


MEGABYTES = 64


def schema(value: Any) -> Constraint:
    text = value if isinstance(value, str) else json.dumps(value)
    return Constraint(ConstraintKind.JSON_SCHEMA, text)


@pytest.mark.parametrize("seed", range(3))
def test_choice(compiler: GrammarCompiler, seed: int) -> None:
    texts = ("yes", "no", 'a "quoted" [text]', "two\nlines / slashes \\ #&~", "yes and no", "ö😀")
    grammar = compiler.compile(Constraint(ConstraintKind.CHOICE, choices=texts))
    text = walk(grammar, seed)
    assert text is not None and text.decode() in texts


@pytest.mark.parametrize("seed", range(3))
def test_json_object(compiler: GrammarCompiler, seed: int) -> None:
    text = walk(compiler.compile(Constraint(ConstraintKind.JSON_OBJECT)), seed)
    assert text is None or isinstance(json.loads(text), dict)


def test_grammar(compiler: GrammarCompiler) -> None:
    lark = 'start: greeting " " NAME "!"\ngreeting: "Hello" | "Hi"\nNAME: /[A-Z][a-z]{2,5}/\n'
    text = walk(compiler.compile(Constraint(ConstraintKind.GRAMMAR, lark)), 1)
    assert text is not None and text.startswith((b"Hello ", b"Hi ")) and text.endswith(b"!")


@pytest.mark.parametrize(
    ("constraint", "field", "words"),
    [
        (schema("{"), "json_schema", "#: is not JSON"),
        (schema({"type": "strin"}), "json_schema", "#/type"),
        (
            schema({"items": {"format": "regex"}}),
            "json_schema",
            "#/items/format",
        ),
        (schema({"maxLenght": 3}), "json_schema", "#/maxLenght"),
        (schema({"items": {"pattern": "(?<=a)b"}}), "json_schema", "#/items/pattern"),
        (schema({"$ref": "https://example.com/s"}), "json_schema", "#/$ref"),
        (schema({"$ref": "#/$defs/a/b", "$defs": {"a": {}}}), "json_schema", "#/$ref"),
        (schema({"uniqueItems": True}), "json_schema", "#/uniqueItems"),
        (
            schema({"allOf": [{"dependencies": {"a": ["b"]}}], "unevaluatedProperties": False}),
            "json_schema",
            "#/allOf/0/dependencies",
        ),
        (schema({"type": "string", "const": 1}), "json_schema", "no value conforms"),
        (schema('{"type": "string", "type": "null"}'), "json_schema", "twice"),
        (Constraint(ConstraintKind.REGEX, "[0-9"), "regex", "unclosed"),
        (Constraint(ConstraintKind.REGEX, r"(a)\1"), "regex", "backreferences"),
        (Constraint(ConstraintKind.GRAMMAR, "start: missing"), "grammar", "missing"),
    ],
)
def test_refusals_name_the_place(
    compiler: GrammarCompiler, constraint: Constraint, field: str, words: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        compiler.compile(constraint)
    (violation,) = raised.value.violations
    assert violation.field == field
    assert words in violation.description


def nested(depth: int) -> str:
    return '{"items":' * depth + "{}" + "}" * depth


BOMBS = {
    "CVE-2025-48944-bad-regex": schema({"type": "string", "pattern": "((((*"}),
    "GHSA-7rgv-30000-parentheses": schema({"pattern": "(" * 30_000 + ")" * 30_000}),
    "GHSA-7rgv-30000-in-a-regex": Constraint(ConstraintKind.REGEX, "(" * 30_000 + ")" * 30_000),
    "GHSA-7rgv-30000-in-a-grammar": Constraint(
        ConstraintKind.GRAMMAR, "start: " + "(" * 30_000 + '"a"' + ")" * 30_000
    ),
    "deep-nesting": schema(nested(5_000)),
    "giant-maxItems": schema({"type": "array", "maxItems": 10**9}),
    "giant-minLength": schema({"type": "string", "minLength": 10**9}),
    "self-reference": schema({"$ref": "#"}),
    "endless-required-recursion": schema(
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    ),
    "oneOf-product": schema(
        {
            "oneOf": [
                {"properties": {f"p{i}": {"minimum": i * j} for i in range(12)}} for j in range(12)
            ]
        }
    ),
    "anyOf-product": schema(
        {"allOf": [{"anyOf": [{"required": [f"{i}-{j}"]} for j in range(9)]} for i in range(9)]}
    ),
    "denied-properties": schema(
        {"not": {"properties": {f"k{i}": {"pattern": f"a{i}"} for i in range(300)}}}
    ),
    "giant-repeat": Constraint(ConstraintKind.REGEX, "((a{1000}){1000}){1000}b"),
    "giant-multiple": Constraint(
        ConstraintKind.GRAMMAR, 'start: %json {"type": "integer", "multipleOf": 99999989}'
    ),
    "million-digits": schema('{"minimum": ' + "9" * 100_000 + "}"),
    "wide-number": schema('{"minimum": 1e100000}'),
}


def resident(pid: int | None) -> int:
    """Megabytes a process has in memory."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * 4096 // 2**20


@pytest.fixture(scope="module")
def bombed(tokenizer: Tokenizer) -> Iterator[GrammarCompiler]:
    compiler = GrammarCompiler(tokenizer, tokenizer.vocab_size, tokenizer.eos_token_ids)
    compiler.compile(schema(True))
    yield compiler
    compiler.close()


def patiently(compiler: GrammarCompiler, constraint: Constraint) -> Any:
    """The grammar; a helper that is just starting on a busy machine asks to come back."""
    while True:
        try:
            return compiler.compile(constraint)
        except ResourceExhausted as error:
            if error.retry_after is None:
                raise
            time.sleep(error.retry_after)


@pytest.mark.parametrize("name", BOMBS)
def test_row_21_bombs_are_refused(bombed: GrammarCompiler, name: str) -> None:
    patiently(bombed, schema({"const": name}))  # the helper is up again after the last one
    before = resident(os.getpid()) if os.path.exists("/proc/self/statm") else 0
    ran = [0]
    stop = threading.Event()

    def other_streams() -> None:
        while not stop.wait(0.005):
            ran[0] += 1

    thread = threading.Thread(target=other_streams)
    thread.start()
    start = time.monotonic()
    with pytest.raises((InvalidRequest, ResourceExhausted)):
        bombed.compile(BOMBS[name])
    seconds = time.monotonic() - start
    stop.set()
    thread.join()
    assert seconds < allowed_seconds()
    assert ran[0] >= int(seconds / (0.1 * allowed_seconds())), "the process stood still"
    if before:
        assert resident(os.getpid()) - before < MEGABYTES


def seconds_to_refuse(compiler: GrammarCompiler, bomb: Constraint) -> float:
    start = time.monotonic()
    with pytest.raises((InvalidRequest, ResourceExhausted)):
        compiler.compile(bomb)
    return time.monotonic() - start


def test_a_bomb_costs_the_one_after_it_nothing(bombed: GrammarCompiler) -> None:
    """Each ends only its fork: the helper stands ready again at once."""
    patiently(bombed, schema({"const": "before the bombs"}))
    pid = bombed.helper.pid
    for name in ("oneOf-product", "denied-properties", "giant-repeat", "oneOf-product"):
        assert seconds_to_refuse(bombed, BOMBS[name]) < allowed_seconds()
        assert bombed.helper.pid == pid


def test_the_bound_holds_while_the_helper_starts_again(bombed: GrammarCompiler) -> None:
    patiently(bombed, schema({"const": "before its death"}))
    pid = bombed.helper.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert seconds_to_refuse(bombed, BOMBS["oneOf-product"]) < allowed_seconds()
    assert bombed.helper.pid != pid


@pytest.mark.parametrize(
    "constraint",
    [
        schema({"type": "string", "pattern": "(a+)+b"}),
        Constraint(ConstraintKind.REGEX, "(a+)+b"),
        schema({"type": "string", "pattern": "^(a?){30}a{30}$"}),
        schema({"enum": [f"value {i}" for i in range(3_000)]}),
        schema({"type": "string", "maxLength": 100_000}),
        schema({"type": "array", "items": {"type": "integer"}, "maxItems": 10_000}),
        schema({"pattern": "^" + "".join(f"(?=.*{c})" for c in "abcdefghijkl") + ".{50,90}$"}),
        Constraint(ConstraintKind.GRAMMAR, 'start: a{100000}\na: "x"'),
        Constraint(ConstraintKind.CHOICE, choices=("x" * 60_000, "y")),
    ],
)
def test_what_harms_others_is_harmless_here(
    compiler: GrammarCompiler, constraint: Constraint
) -> None:
    """Compiled in time, and no step of it takes long, whether or not it ends with an error."""
    start = time.monotonic()
    state = compiler.compile(constraint).start()
    assert time.monotonic() - start < allowed_seconds()
    rng = random.Random(7)
    mask = np.zeros((1, compiler.vocabulary.mask_words), np.uint32)
    for _ in range(12):
        start = time.process_time()
        if fill_masks([state], mask):
            assert isinstance(state.error, EngineError)
            return
        ids = np.flatnonzero(np.unpackbits(mask[0].view(np.uint8), bitorder="little"))
        try:
            state.accept(int(rng.choice(ids.tolist())))
        except ResourceExhausted:
            return
        assert time.process_time() - start < 0.5


def test_row_22_the_cache_is_bounded_in_bytes(tokenizer: Tokenizer) -> None:
    room = 2 * 2**20
    compiler = GrammarCompiler(
        tokenizer, tokenizer.vocab_size, tokenizer.eos_token_ids, cache_bytes=room
    )
    try:
        for index in range(40):
            compiler.compile(schema({"const": f"number {index}"}))
            assert compiler.cached_bytes <= room
        assert compiler.cached_bytes > room // 2
    finally:
        compiler.close()


def test_equal_constraints_are_compiled_once(compiler: GrammarCompiler) -> None:
    constraint = schema({"const": "compiled once"})
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(compiler.compile(constraint)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(map(id, found))) == 1


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGSTOP])
def test_row_23_a_dead_or_hung_compiler_fails_one_request(
    bombed: GrammarCompiler, number: signal.Signals
) -> None:
    asked = schema({"enum": ["asked when it dies", number.name]})
    patiently(bombed, schema({"const": number.name}))
    pid = bombed.helper.pid
    assert pid is not None
    errors: list[EngineError] = []

    def ask() -> None:
        try:
            bombed.compile(asked)
        except EngineError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    os.kill(pid, signal.SIGSTOP)  # so that it dies with the request in its hands
    thread.start()
    time.sleep(0.2)
    os.kill(pid, number)
    if number is not signal.SIGSTOP:
        os.kill(pid, signal.SIGCONT)
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert [type(error) for error in errors] == [ResourceExhausted]
    assert walk(patiently(bombed, schema({"const": [number.name]})), 0) is not None
    assert bombed.helper.pid != pid


def test_a_helper_that_died_between_requests_is_replaced(bombed: GrammarCompiler) -> None:
    pid = bombed.helper.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    patiently(bombed, schema({"const": "after its death"}))
    assert bombed.helper.pid != pid


def test_closing_ends_the_helper(tokenizer: Tokenizer) -> None:
    compiler = GrammarCompiler(tokenizer, tokenizer.vocab_size, tokenizer.eos_token_ids)
    pid = compiler.helper.pid
    assert pid is not None
    compiler.close()
    compiler.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
