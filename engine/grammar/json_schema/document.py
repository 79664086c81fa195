"""Schema documents: parsing, checking that they are schemas, and what ``$ref`` refers to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from .errors import Refused, join

if TYPE_CHECKING:
    from referencing._core import Resolver

_MAX_DEPTH = 64
_MAX_VALUES = 100_000

# The dialects whose keywords mean the same wherever they are taken here.
_DIALECTS = frozenset(
    {
        "https://json-schema.org/draft/2020-12/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "http://json-schema.org/draft-07/schema",
        "http://json-schema.org/draft-06/schema",
    }
)

# Keywords whose value is a schema, a list of schemas, or schemas by name.
ONE = frozenset(
    {"additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then",
     "unevaluatedItems", "unevaluatedProperties"}
)  # fmt: skip
MANY = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
ASSERTIONS = frozenset(
    {"$dynamicRef", "$ref", "const", "dependentRequired", "enum", "exclusiveMaximum",
     "exclusiveMinimum", "format", "maxContains", "maxItems", "maxLength", "maxProperties",
     "maximum", "minContains", "minItems", "minLength", "minProperties", "minimum",
     "multipleOf", "pattern", "required", "type", "uniqueItems"}
)  # fmt: skip
# Keywords that say nothing about which values conform.
ANNOTATIONS = frozenset(
    {"$anchor", "$comment", "$dynamicAnchor", "$id", "$schema", "contentEncoding",
     "contentMediaType", "contentSchema", "default", "deprecated", "description",
     "discriminator", "example", "examples", "externalDocs", "readOnly", "title", "writeOnly",
     "xml"}
)  # fmt: skip
_HINTS = {
    "additionalItems": "use prefixItems and items (Draft 2020-12)",
    "nullable": 'use "type": [..., "null"]',
    "$recursiveRef": "use $dynamicRef (Draft 2020-12)",
    "id": "use $id",
}

# Of older drafts, which name schemas or keys by name; Draft 2020-12's meta-schema has it still.
DEPENDENCIES = "dependencies"

KEYWORDS = ONE | MANY | NAMED | ASSERTIONS | ANNOTATIONS | {DEPENDENCIES}


def parse(text: str) -> Any:
    """The value of a JSON text, fractions as ``Decimal``. Raises ``Refused``."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise Refused("#", f"an object has the key {twice!r} twice")
        return result

    try:
        value = json.loads(
            text,
            object_pairs_hook=unique,
            parse_float=_fraction,
            parse_int=_integer,
            parse_constant=_constant,
        )
    except RecursionError:
        raise Refused("#", f"is nested deeper than {_MAX_DEPTH} levels") from None
    except ValueError as error:
        raise Refused("#", f"is not JSON: {error}") from None
    _check_size(value)
    return value


def _fraction(digits: str) -> int | Decimal:
    """2.0 is an integer to JSON Schema."""
    value = Decimal(digits)
    if abs(value.adjusted()) <= 400 and value == value.to_integral_value():
        return int(value)
    return value


def _integer(digits: str) -> int:
    if len(digits) > 400:
        raise ValueError("a number has more than 400 digits")
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _check_size(value: Any) -> None:
    """No deeper and no larger than any reasonable schema, so that recursion is safe."""
    count, level = 0, [value]
    for _ in range(_MAX_DEPTH):
        count += len(level)
        if count > _MAX_VALUES:
            raise Refused("#", f"has more than {_MAX_VALUES} values")
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        if not inner:
            return
        level = inner
    raise Refused("#", f"is nested deeper than {_MAX_DEPTH} levels")


def subschemas(schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The schemas directly inside a schema, each with its path from there."""
    for keyword, value in schema.items():
        if keyword in ONE:
            yield (keyword,), value
        elif keyword in MANY:
            for index, item in enumerate(value):
                yield (keyword, index), item
        elif keyword in NAMED or keyword == DEPENDENCIES:
            for name, item in value.items():
                if not isinstance(item, list):
                    yield (keyword, name), item


class Document:
    """A checked schema document. ``pointers``: where each schema object of it stands, by id."""

    def __init__(self, contents: Any) -> None:
        self.contents = contents
        self.pointers: dict[int, str] = {}
        self.dynamic = False
        _check_is_schema(contents)
        self._walk(contents, "#")
        resource = DRAFT202012.create_resource(contents)
        registry: Registry[Any] = Registry().with_resource("", resource).crawl()
        self.resolver = registry.resolver_with_root(resource)

    def pointer(self, contents: Any) -> str:
        """Where a schema stands."""
        return self.pointers.get(id(contents), "#")

    def lookup(self, resolver: Resolver[Any], reference: str, at: str) -> Any:
        """What a reference refers to: its contents and their resolver. Raises ``Refused``."""
        try:
            found = resolver.lookup(reference)
        except (Unresolvable, ValueError) as error:
            detail = "refers outside the schema" if "://" in reference else "refers to nothing"
            raise Refused(at, f"{reference!r} {detail}") from error
        if not isinstance(found.contents, bool) and id(found.contents) not in self.pointers:
            raise Refused(at, f"{reference!r} refers to something that is no schema")
        return found

    def _walk(self, schema: Any, pointer: str) -> None:
        if isinstance(schema, bool):
            return
        self.pointers[id(schema)] = pointer
        for keyword, value in schema.items():
            if keyword not in KEYWORDS and not keyword.startswith("x-"):
                hint = _HINTS.get(keyword, "is not known and would be ignored")
                raise Refused(join(pointer, keyword), hint)
            if keyword == "$schema" and str(value).rstrip("#") not in _DIALECTS:
                raise Refused(join(pointer, keyword), f"the dialect {value!r} is not known")
            self.dynamic |= keyword == "$dynamicRef"
        for path, inner in subschemas(schema):
            self._walk(inner, join(pointer, *path))


def _check_is_schema(contents: Any) -> None:
    try:
        # Without formats: patterns are ECMA-262, which Python's re is not.
        Draft202012Validator.check_schema(contents, format_checker=FormatChecker(formats=()))
    except SchemaError as error:
        raise Refused(join("#", *error.absolute_path), error.message[:300]) from None
