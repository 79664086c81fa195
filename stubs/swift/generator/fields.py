"""A field of a message: its Swift type, and how it is read and written."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

_Kind = FieldDescriptorProto
_SCALARS = {
    _Kind.TYPE_DOUBLE: "Double",
    _Kind.TYPE_FLOAT: "Float",
    _Kind.TYPE_INT64: "Int64",
    _Kind.TYPE_UINT64: "UInt64",
    _Kind.TYPE_INT32: "Int32",
    _Kind.TYPE_FIXED64: "UInt64",
    _Kind.TYPE_FIXED32: "UInt32",
    _Kind.TYPE_BOOL: "Bool",
    _Kind.TYPE_STRING: "String",
    _Kind.TYPE_BYTES: "Data",
    _Kind.TYPE_UINT32: "UInt32",
    _Kind.TYPE_SFIXED32: "Int32",
    _Kind.TYPE_SFIXED64: "Int64",
    _Kind.TYPE_SINT32: "Int32",
    _Kind.TYPE_SINT64: "Int64",
}
_ZEROS = {"Bool": "false", "String": '""', "Data": "Data()"}
_WELL_KNOWN = {
    "Timestamp": "Timestamp",
    "Duration": "Duration",
    "Struct": "JSONObject",
    "Value": "JSONValue",
    "ListValue": "[JSONValue]",
}


class Unsupported(Exception):
    """The schema uses something that this generator does not know."""


@dataclass(frozen=True)
class Field:
    """A field. ``presence`` is one of ``implicit``, ``optional``, ``repeated``, ``map``."""

    name: str
    json_name: str
    type: str
    presence: str
    path: tuple[int, ...]
    default: str

    @classmethod
    def of(
        cls,
        field: FieldDescriptorProto,
        entry: DescriptorProto | None,
        package: str,
        path: tuple[int, ...],
    ) -> Field:
        """From a descriptor; ``entry`` is the type of a map's entries. Raises ``Unsupported``."""
        if entry is not None:
            key, value = (_type(each, package) for each in entry.field)
            return cls(field.name, field.json_name, f"[{key}: {value}]", "map", path, "[:]")
        kind = _type(field, package)
        if field.label == field.LABEL_REPEATED:
            return cls(field.name, field.json_name, kind, "repeated", path, "[]")
        explicit = field.proto3_optional or field.type == field.TYPE_MESSAGE
        if explicit or field.HasField("oneof_index"):
            return cls(field.name, field.json_name, kind, "optional", path, "nil")
        zero = ".init(number: 0)" if field.type == field.TYPE_ENUM else _ZEROS.get(kind, "0")
        return cls(field.name, field.json_name, kind, "implicit", path, zero)

    @property
    def declared(self) -> str:
        """The type of its property."""
        if self.presence == "repeated":
            return f"[{self.type}]"
        return f"{self.type}?" if self.presence == "optional" else self.type

    @property
    def reader(self) -> str:
        """The function of ``MessageReader`` that reads it."""
        return self.presence

    @property
    def writer(self) -> str:
        """The function of ``MessageWriter`` that writes it."""
        return self.presence

    @property
    def json_names(self) -> str:
        """Both spellings under which it is read, or the one."""
        names = dict.fromkeys((self.json_name, self.name))
        return ", ".join(f'"{name}"' for name in names)


def _type(field: FieldDescriptorProto, package: str) -> str:
    if field.type in _SCALARS:
        return _SCALARS[field.type]
    if field.type not in (field.TYPE_MESSAGE, field.TYPE_ENUM):
        raise Unsupported(f"{field.name}: groups")
    if field.type_name.startswith(f".{package}."):
        return field.type_name.removeprefix(f".{package}.")
    name = field.type_name.removeprefix(".google.protobuf.")
    if name not in _WELL_KNOWN:
        raise Unsupported(f"{field.name}: {field.type_name}")
    return _WELL_KNOWN[name]
