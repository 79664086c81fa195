"""Swift's JSON form of the schema's messages against Python's protobuf, both ways."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    json_format,
    message_factory,
    struct_pb2,
    timestamp_pb2,
)
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from ..descriptors import descriptor_of
from .cases import METHODS, read_cases
from .environment import ROOT, Missing, library, swift_program

EVERY_KIND = ROOT / "stubs" / "swift" / "Tests" / "RoundTrip" / "every_kind.proto"
RANDOM_MESSAGES = 60
"""Of each type."""

Line = tuple[type[Message], str]


@pytest.fixture(scope="module")
def command() -> list[str]:
    """The program that reads messages and writes them again."""
    try:
        return swift_program("swift/debug/mlxforge-roundtrip", library("default").parent)
    except Missing as missing:
        pytest.skip(str(missing))


def swift(command: list[str], lines: list[Line]) -> list[str]:
    """What the Swift types make of each line: ``ok JSON`` or ``error WHY``."""
    text = "".join(f"{kind.DESCRIPTOR.name} {line}\n" for kind, line in lines)
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answers = done.stdout.removesuffix("\n").split("\n")
    assert len(answers) == len(lines)
    return answers


def check(command: list[str], messages: list[Message]) -> None:
    """Python writes, Swift reads and writes, Python reads: nothing lost, and written alike."""
    lines: list[Line] = []
    for i, message in enumerate(messages):
        written = json_format.MessageToDict(message, preserving_proto_field_name=i % 2 == 1)
        lines.append((type(message), json.dumps(written)))
    for message, answer in zip(messages, swift(command, lines), strict=True):
        assert answer.startswith("ok "), (message, answer)
        again = json_format.Parse(answer[3:], type(message)())
        assert again.SerializeToString(deterministic=True) == message.SerializeToString(
            deterministic=True
        ), (message, answer)
        assert _numbers(json.loads(answer[3:])) == _numbers(json_format.MessageToDict(message))


def _numbers(value: Any) -> Any:
    """With whole floats as such: JSON has one kind of number, and 1.0 is 1."""
    if isinstance(value, dict):
        return {key: _numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def test_requests_of_all_cases(command: list[str]) -> None:
    messages: list[Message] = []
    for case in read_cases():
        for step in case.steps:
            kind = message_factory.GetMessageClass(METHODS[step.rpc].input_type)
            for request in step.requests:
                # What the suite fills in when it runs (`$ref`, …) is no message yet.
                if "$" not in json.dumps(request):
                    messages.append(json_format.ParseDict(request, kind()))
    assert len(messages) > 100
    check(command, messages)


def test_random_messages_of_all_types(command: list[str]) -> None:
    kinds = [t for method in METHODS.values() for t in (method.input_type, method.output_type)]
    unique = {kind.full_name: kind for kind in kinds}.values()
    messages = [
        message
        for kind in [*unique, descriptor_of(every_kind())]
        for message in random_messages(kind, RANDOM_MESSAGES)
    ]
    check(command, messages)


def test_every_kind_at_its_limits(command: list[str]) -> None:
    kind = every_kind()
    written: list[dict[str, Any]] = [
        {"aDouble": "NaN", "aFloat": "-Infinity", "doubles": [1, "Infinity", "NaN", 5e-324]},
        {"aDouble": 1e300, "aFloat": 3.4e38, "maybeDouble": 0, "floats": [1e-30, 0.1]},
        {"anInt64": -(2**63), "aUint64": str(2**64 - 1), "longs": ["1", 2, 3.0, "4e2"]},
        {"anInt32": -(2**31), "aUint32": "4294967295", "aSint32": 1e3, "numbers": [1, "2"]},
        {"someBytes": "-_8", "maybeBytes": "", "chunks": ["+/8=", "AA"]},
        {"timestamp": "1969-12-31T23:59:59.5Z", "timestamps": ["0001-01-01T00:00:00Z"]},
        {"timestamp": "2026-02-28T23:30:00.000001-01:30", "duration": "-0.000000001s"},
        {"timestamp": "9999-12-31T23:59:59.999999999Z", "duration": "315576000000s"},
        {"timestamp": "2000-02-29T12:00:00.120+14:00", "duration": "1.5s"},
        {"value": None, "values": [None, 1, "a", [None], {"b": None}], "anything": None},
        {"structure": {"a": {"b": [1, True, None]}}, "list": [[], {}], "maybeString": None},
        {"colour": 7, "maybeColour": "COLOUR_UNSPECIFIED", "colours": ["COLOUR_DEEP_RED", 99]},
        {"byBool": {"true": "COLOUR_DEFAULT", "false": 0}, "byLong": {str(-(2**63)): {}}},
        {"byName": {"": "", "ключ": "\u0000\U0001f98a"}, "byNumber": {"0": "NaN"}},
        {"inner": {"default": True, "in": True}, "empty": {}, "renamed": "x"},
        {"number": "0"},
        {"text": ""},
        {},
    ]
    check(command, [json_format.ParseDict(each, kind()) for each in written])
    # Forms that Python reads and does not write itself.
    lines = [(kind, json.dumps(each)) for each in written]
    for (_, line), answer in zip(lines, swift(command, lines), strict=True):
        assert answer.startswith("ok "), (line, answer)
        left, right = json_format.Parse(line, kind()), json_format.Parse(answer[3:], kind())
        assert left.SerializeToString(deterministic=True) == right.SerializeToString(
            deterministic=True
        ), (line, answer)


def test_what_is_not_known_is_passed_over(command: list[str]) -> None:
    kind = every_kind()
    lines = [
        '{"aString": "x", "new": {"a": [1, {"b": null}]}, "colour": "COLOUR_NEW"}',
        '{"colours": ["COLOUR_NEW", "COLOUR_DEFAULT"], "byBool": {"true": "COLOUR_NEW"}}',
        '{"inner": {"later": 1}, "shade": "COLOUR_NEW"}',
    ]
    for line, answer in zip(lines, swift(command, [(kind, line) for line in lines]), strict=True):
        assert answer.startswith("ok "), answer
        expected = json_format.Parse(line, kind(), ignore_unknown_fields=True)
        assert json_format.Parse(answer[3:], kind()) == expected, answer


@pytest.mark.parametrize(
    "line",
    [
        '{"anInt32": 2147483648}',
        '{"aUint32": -1}',
        '{"anInt64": 1.5}',
        '{"aUint64": "18446744073709551616"}',
        '{"aBool": "true"}',
        '{"aBool": 1}',
        '{"aString": 1}',
        '{"aFloat": 1e39}',
        '{"aDouble": "a"}',
        '{"timestamp": "2026-02-30T00:00:00Z"}',
        '{"timestamp": "yesterday"}',
        '{"duration": "1.5"}',
        '{"strings": "x"}',
        '{"strings": [null]}',
        '{"byName": []}',
        '{"byNumber": {"x": 1}}',
        '{"text": "a", "number": 1}',
    ],
)
def test_what_python_refuses(command: list[str], line: str) -> None:
    with pytest.raises(json_format.ParseError):
        json_format.Parse(line, every_kind()(), ignore_unknown_fields=True)
    assert swift(command, [(every_kind(), line)])[0].startswith("error ")


def test_what_python_takes_and_swift_refuses(command: list[str]) -> None:
    wrong = ['{"someBytes": "!"}', '{"colour": true}', '{"inner": []}', "[]"]
    answers = swift(command, [(every_kind(), line) for line in wrong])
    assert [answer.split(" ")[0] for answer in answers] == ["error"] * 4


def every_kind() -> type[Message]:
    """The class of the schema that has every kind of field."""
    pool = descriptor_pool.Default()
    try:
        found = pool.FindMessageTypeByName("mlxforge.test.EveryKind")
    except KeyError:
        for imported in (duration_pb2, struct_pb2, timestamp_pb2):
            pool.AddSerializedFile(imported.DESCRIPTOR.serialized_pb)
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{EVERY_KIND.parent}"]
        command += ["--descriptor_set_out=/dev/stdout", str(EVERY_KIND)]
        done = subprocess.run(command, check=True, capture_output=True)
        for file in descriptor_pb2.FileDescriptorSet.FromString(done.stdout).file:
            pool.Add(file)
        found = pool.FindMessageTypeByName("mlxforge.test.EveryKind")
    return message_factory.GetMessageClass(found)


def random_messages(kind: Descriptor, count: int) -> Iterator[Message]:
    """The same every time."""
    chance = random.Random(kind.full_name)
    for _ in range(count):
        message = message_factory.GetMessageClass(kind)()
        _fill(message, chance, 3)
        yield message


def _fill(message: Message, chance: random.Random, depth: int) -> None:
    for field in descriptor_of(message).fields:
        if chance.random() < 0.5:
            continue
        target = getattr(message, field.name)
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            keys, values = kind.fields
            for _ in range(chance.randrange(4)):
                key = _scalar(keys, chance)
                if values.message_type is None:
                    target[key] = _scalar(values, chance)
                else:
                    _fill(target[key], chance, depth - 1)
        elif kind is not None and (depth or kind.full_name.startswith("google.")):
            for _ in range(chance.randrange(4) if field.is_repeated else 1):
                _fill_message(target.add() if field.is_repeated else target, chance, depth - 1)
        elif kind is None and field.is_repeated:
            target.extend(_scalar(field, chance) for _ in range(chance.randrange(4)))
        elif kind is None:
            setattr(message, field.name, _scalar(field, chance))


def _fill_message(message: Any, chance: random.Random, depth: int) -> None:
    message.SetInParent()
    name = message.DESCRIPTOR.full_name
    value: list[Any] = [None, True, chance.random(), "text", ["a", None, 1.5], {"b": {"c": False}}]
    if name == "google.protobuf.Timestamp":
        message.seconds = chance.randrange(-62135596800, 253402300800)
        message.nanos = chance.choice([0, 5_000_000, 6000, 7])
    elif name == "google.protobuf.Duration":
        message.FromMicroseconds(chance.randrange(-(10**15), 10**15))
    elif name == "google.protobuf.Struct":
        message.update({"a": chance.choice(value), "b": chance.choice(value)})
    elif name == "google.protobuf.ListValue":
        message.extend(chance.choices(value, k=3))
    elif name == "google.protobuf.Value":
        json_format.ParseDict(chance.choice(value), message)
    else:
        _fill(message, chance, depth)


def _scalar(field: FieldDescriptor, chance: random.Random) -> Any:
    kinds = FieldDescriptor
    if field.enum_type is not None:
        return chance.choice([*(value.number for value in field.enum_type.values), 123])
    if field.cpp_type in (kinds.CPPTYPE_DOUBLE, kinds.CPPTYPE_FLOAT):
        special = [0.0, 1.0, -2.5, float("inf"), float("-inf")]
        return chance.choice([*special, chance.uniform(-1e6, 1e6), chance.random() * 1e-20])
    if field.cpp_type == kinds.CPPTYPE_BOOL:
        return chance.random() < 0.5
    if field.type == kinds.TYPE_STRING:
        return chance.choice(["", "plain", '"quoted" \\ / \n\t', "Größe 🦊 \u2028", "a" * 300])
    if field.type == kinds.TYPE_BYTES:
        return chance.randbytes(chance.randrange(9))
    bits = 64 if field.cpp_type in (kinds.CPPTYPE_INT64, kinds.CPPTYPE_UINT64) else 32
    if field.cpp_type in (kinds.CPPTYPE_UINT32, kinds.CPPTYPE_UINT64):
        return chance.choice([0, 1, 2**bits - 1, chance.getrandbits(bits)])
    return chance.choice(
        [0, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), chance.getrandbits(bits - 1)]
    )
