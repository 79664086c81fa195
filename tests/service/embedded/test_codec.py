"""Requests as the host spells them: what is refused, and that nothing else can come of bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlxforge.engine.errors import InvalidRequest
from mlxforge.service.embedded.codec import Codec, decode, encode
from mlxforge.v1 import embedding_pb2, generation_pb2

Request = generation_pb2.GenerateRequest


def test_both_forms_say_the_same() -> None:
    request = Request(prompt="Grüße\n", max_tokens=3, stop=["\x00", '"'])
    request.sampling_params.temperature = 0.25
    for codec in Codec:
        assert decode(encode(request, codec), Request, codec) == request


def test_json_takes_both_spellings_of_a_field() -> None:
    for name in ("max_tokens", "maxTokens"):
        assert decode(json.dumps({name: 4}).encode(), Request, Codec.JSON).max_tokens == 4


def test_json_keeps_floats_and_characters() -> None:
    embedding = embedding_pb2.Embedding(values=[0.1, 1e-9, -3.5])
    text = encode(embedding, Codec.JSON)
    assert decode(text, embedding_pb2.Embedding, Codec.JSON) == embedding
    assert "🎉".encode() in encode(Request(prompt="🎉"), Codec.JSON)


def test_nothing_is_an_empty_message() -> None:
    for data in (b"", b"{}", b" \n"):
        assert decode(data, Request, Codec.JSON) == Request()
    assert decode(b"", Request, Codec.PROTOBUF) == Request()


@pytest.mark.parametrize(
    "data",
    [
        b"{", b"[]", b"7", b"null", b'"x"', b"{}{}", b'{"prompt": 1}', b'{"nothing": 1}',
        b'{"max_tokens": -1}', b'{"max_tokens": 1e400}', b'{"max_tokens": 4294967296}',
        b'{"max_tokens": ' + b"9" * 10_000 + b"}", b'{"max_tokens": 0.5}', b'{"max_tokens": NaN}',
        b'{"prompt": "a", "prompt": "b"}', b'{"prompt": "a", "chat": {}}', b'{"prompt": "\xff"}',
        b'{"sampling_params": [1]}', b'{"stop": {"a": "b"}}', b"\xff\xfe", b"\x00",
        b'{"chat":{"template_kwargs":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}}",
        b'{"prompt": "\\ud800"}',
    ],
)  # fmt: skip
def test_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"request: is not a mlxforge\.v1\.GenerateRequest"):
        decode(data, Request, Codec.JSON)


@pytest.mark.parametrize("data", [b"\xff", b"\x12\x7f", b"\x12\x02\xff\xfe", b"\x2a" * 50])
def test_protobuf_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="cannot be parsed"):
        decode(data, Request, Codec.PROTOBUF)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(list(Codec)))
def test_any_bytes_are_a_message_or_refused(data: bytes, codec: Codec) -> None:
    try:
        message = decode(data, Request, codec)
    except InvalidRequest:
        return
    assert isinstance(message, Request)


_names = st.sampled_from([field.name for field in Request.DESCRIPTOR.fields]) | st.text(max_size=8)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_names, _json, max_size=6))
def test_any_json_is_a_message_or_refused(fields: dict[str, object]) -> None:
    try:
        decode(json.dumps(fields).encode(), Request, Codec.JSON)
    except InvalidRequest:
        return
