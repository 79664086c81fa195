"""Swift source of a schema file: value types, their JSON form, the methods of its services.

What the generated code calls (``MessageReader``, ``JSONForm``, …) is in
``Sources/MLXForgeClient/JSON``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fields import Field, Unsupported
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    ServiceDescriptorProto,
)
from names import case_name, member, swift_name

# Numbers of fields in descriptor.proto, of which SourceCodeInfo's paths consist.
_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6
_FIELDS, _NESTED, _NESTED_ENUMS, _ONEOFS = 2, 3, 4, 8
_VALUES = _METHODS = 2

Path = tuple[int, ...]


def swift_file(file: FileDescriptorProto, imports: Sequence[str] = ()) -> str:
    """The file's Swift source. Raises ``Unsupported``."""
    writer = _Writer(file)
    lines = [f"// Generated from {file.name} by stubs/swift/generator. DO NOT EDIT!"]
    lines += ["// swift-format-ignore-file", ""]
    lines += [f"import {name}" for name in imports]
    for i, service in enumerate(file.service):
        lines += ["", *writer.service(service, (_SERVICES, i))]
    for i, message in enumerate(file.message_type):
        lines += ["", *writer.message(message, (_MESSAGES, i), f".{file.package}.{message.name}")]
    for i, enum in enumerate(file.enum_type):
        lines += ["", *writer.enum(enum, (_ENUMS, i))]
    extensions = [f"extension {name}: {form} {{}}" for name, form in writer.forms]
    return "\n".join([*lines, "", *extensions]).replace("\n\n\n", "\n\n").rstrip() + "\n"


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]


@dataclass
class _OneOf:
    """A oneof: one property, whose type is an enum with a case for each field."""

    name: str
    fields: list[Field]
    path: Path

    @property
    def type(self) -> str:
        return swift_name(self.name, upper=True)


class _Writer:
    def __init__(self, file: FileDescriptorProto) -> None:
        self._file = file
        self._comments = {
            tuple(location.path): location.leading_comments
            for location in file.source_code_info.location
        }
        self.forms: list[tuple[str, str]] = []

    def _docs(self, path: Path) -> list[str]:
        text = self._comments.get(path, "").rstrip("\n")
        return [f"///{line}".rstrip() for line in text.split("\n")] if text else []

    def service(self, service: ServiceDescriptorProto, path: Path) -> list[str]:
        """An enum without cases that holds the service's methods."""
        body: list[str] = []
        for i, method in enumerate(service.method):
            types = ", ".join(_message_name(t) for t in (method.input_type, method.output_type))
            name = f"{self._file.package}.{service.name}/{method.name}"
            body += ["", *self._docs((*path, _METHODS, i))]
            body += [f"public static let {member(method.name)} = Method<{types}>("]
            body += [f'    "{name}")']
        head = f"public enum {service.name} {{"
        return [*self._docs(path), head, *_indented(body[1:]), "}"]

    def enum(self, enum: EnumDescriptorProto, path: Path, outer: str = "") -> list[str]:
        """An enum that keeps numbers it does not know."""
        if enum.options.allow_alias:
            raise Unsupported(f"{enum.name}: aliases")
        self.forms.append((f"{outer}{enum.name}", "ImplicitForm"))
        cases: list[str] = []
        names = [case_name(enum.name, value.name) for value in enum.value]
        for i, name in enumerate(names):
            cases += [*self._docs((*path, _VALUES, i)), f"case {name}"]
        pairs = list(zip(names, enum.value, strict=True))
        body = [
            *cases,
            "/// A value of a newer schema.",
            "case unrecognized(Int32)",
            "",
            "public init(number: Int32) {",
            "    switch number {",
            *(f"    case {value.number}: self = .{name}" for name, value in pairs),
            "    default: self = .unrecognized(number)",
            "    }",
            "}",
            "",
            "public var number: Int32 {",
            "    switch self {",
            *(f"    case .{name}: {value.number}" for name, value in pairs),
            "    case .unrecognized(let number): number",
            "    }",
            "}",
            "",
            f"public static let allCases: [{outer}{enum.name}] = [",
            *(f"    .{name}," for name in names),
            "]",
            "",
            "public static let names: [String] = [",
            *(f'    "{value.name}",' for value in enum.value),
            "]",
        ]
        head = f"public enum {enum.name}: SchemaEnum {{"
        return [*self._docs(path), head, *_indented(body), "}"]

    def message(
        self, message: DescriptorProto, path: Path, full_name: str, outer: str = ""
    ) -> list[str]:
        """A struct with a memberwise initializer, and its JSON form."""
        name = f"{outer}{message.name}"
        self.forms.append((name, "JSONForm"))
        properties = list(self._properties(message, path, full_name))
        body: list[str] = []
        for i, enum in enumerate(message.enum_type):
            body += [*self.enum(enum, (*path, _NESTED_ENUMS, i), f"{name}."), ""]
        for i, nested in enumerate(message.nested_type):
            if not nested.options.map_entry:
                inner = (*path, _NESTED, i)
                body += [*self.message(nested, inner, f"{full_name}.{nested.name}", f"{name}."), ""]
        for item in properties:
            if isinstance(item, _OneOf):
                body += [*self._oneof(item), ""]
        for item in properties:
            docs = self._docs(item.path)
            kind = f"{item.type}?" if isinstance(item, _OneOf) else item.declared
            body += [*docs, f"public var {member(item.name)}: {kind}"]
        body += ["", *_initializer(properties), "", *_decoding(properties)]
        body += ["", *_encoding(properties)]
        head = f"public struct {message.name}: SchemaMessage {{"
        return [*self._docs(path), head, *_indented(body), "}"]

    def _properties(
        self, message: DescriptorProto, path: Path, full_name: str
    ) -> Iterator[Field | _OneOf]:
        maps = {f"{full_name}.{n.name}": n for n in message.nested_type if n.options.map_entry}
        seen: dict[int, _OneOf] = {}
        for i, descriptor in enumerate(message.field):
            entry = maps.get(descriptor.type_name)
            field = Field.of(descriptor, entry, self._file.package, (*path, _FIELDS, i))
            if not descriptor.HasField("oneof_index") or descriptor.proto3_optional:
                if field.type == message.name:
                    raise Unsupported(f"{full_name}: a message in itself")
                yield field
                continue
            index = descriptor.oneof_index
            if index not in seen:
                oneof = message.oneof_decl[index]
                seen[index] = _OneOf(oneof.name, [], (*path, _ONEOFS, index))
                for later, other in enumerate(message.field[i:], i):
                    if other.HasField("oneof_index") and other.oneof_index == index:
                        seen[index].fields.append(
                            Field.of(other, None, self._file.package, (*path, _FIELDS, later))
                        )
                yield seen[index]

    def _oneof(self, oneof: _OneOf) -> list[str]:
        cases: list[str] = []
        for field in oneof.fields:
            cases += [*self._docs(field.path), f"case {member(field.name)}({field.type})"]
        head = f"public enum {oneof.type}: Hashable, Sendable {{"
        return [*self._docs(oneof.path), head, *_indented(cases), "}"]


def _message_name(full_name: str) -> str:
    return full_name.rsplit(".", 1)[-1]


def _initializer(properties: Sequence[Field | _OneOf]) -> list[str]:
    if not properties:
        return ["public init() {}"]
    parameters = [
        f"    {member(item.name)}: {item.type}? = nil"
        if isinstance(item, _OneOf)
        else f"    {member(item.name)}: {item.declared} = {item.default}"
        for item in properties
    ]
    sets = [f"    {_self(item.name)} = {member(item.name)}" for item in properties]
    joined = ",\n".join(parameters).split("\n")
    return ["public init(", *joined, ") {", *sets, "}"]


def _decoding(properties: Sequence[Field | _OneOf]) -> list[str]:
    if not properties:
        return [
            "public init(from decoder: any Decoder) throws {",
            "    _ = try MessageReader(decoder)",
            "}",
        ]
    body: list[str] = ["let fields = try MessageReader(decoder)"]
    for item in properties:
        if isinstance(item, Field):
            body.append(f"{_self(item.name)} = try fields.{item.reader}({item.json_names})")
            continue
        body.append(f'var {_local(item.name)} = OneOf<{item.type}>("{item.name}")')
        for field in item.fields:
            read = f"fields.optional({field.json_names})"
            case = f"{item.type}.{member(field.name)}"
            body.append(f"try {_local(item.name)}.set({read}.map({case}))")
        body.append(f"{_self(item.name)} = {_local(item.name)}.value")
    head = "public init(from decoder: any Decoder) throws {"
    return [head, *_indented(body), "}"]


def _self(name: str) -> str:
    return f"self.{member(name)}"


def _local(name: str) -> str:
    return f"{swift_name(name)}Field"


def _encoding(properties: Sequence[Field | _OneOf]) -> list[str]:
    head = "public func encode(to encoder: any Encoder) throws {"
    if not properties:
        return [head, "    _ = MessageWriter(encoder)", "}"]
    body: list[str] = ["var fields = MessageWriter(encoder)"]
    for item in properties:
        if isinstance(item, Field):
            body.append(f'try fields.{item.writer}("{item.json_name}", {_self(item.name)})')
            continue
        body.append(f"switch {_self(item.name)} {{")
        for field in item.fields:
            body.append(f"case .{member(field.name)}(let value):")
            body.append(f'    try fields.optional("{field.json_name}", value)')
        body += ["case nil: break", "}"]
    return [head, *_indented(body), "}"]
