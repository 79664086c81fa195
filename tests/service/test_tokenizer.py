"""``TokenizerService`` over real sockets."""

from __future__ import annotations

import grpc
import pytest

from mlxforge.v1 import tokenizer_pb2

from .fakes import VOCAB_SIZE
from .serving import Client, Start, details_of, status_of_rpc

Tokenize = tokenizer_pb2.TokenizeRequest
Detokenize = tokenizer_pb2.DetokenizeRequest


@pytest.fixture
async def client(start: Start) -> Client:
    return await start()


async def test_text(client: Client) -> None:
    response = await client.tokenizer.Tokenize(Tokenize(text="a bb"))
    assert list(response.tokens) == ["<s>", "a", "bb"]
    assert (list(response.token_ids), response.count) == ([3, 1, 2], 3)
    plain = await client.tokenizer.Tokenize(Tokenize(text="a bb", add_special_tokens=False))
    assert list(plain.tokens) == ["a", "bb"]
    assert (await client.tokenizer.Tokenize(Tokenize(text=""))).count == 1


async def test_chat(client: Client) -> None:
    message = Tokenize(chat={"messages": [{"role": "user", "content": "x yy"}]})
    assert list((await client.tokenizer.Tokenize(message)).tokens)[1:] == ["x", "yy"]


async def test_ids(client: Client) -> None:
    response = await client.tokenizer.Detokenize(Detokenize(token_ids=[1, 2]))
    assert response.text == "t1 t2"
    assert (await client.tokenizer.Detokenize(Detokenize())).text == ""


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (Tokenize(), "text"),
        (Tokenize(chat={}), "chat.messages"),
        (Tokenize(chat={"messages": [{"role": "x", "content": "y"}]}), "chat.messages[0].role"),
        (Detokenize(token_ids=[VOCAB_SIZE]), "token_ids"),
    ],
)
async def test_bad_requests(message: Tokenize | Detokenize, field: str, client: Client) -> None:
    stub = client.tokenizer
    call = stub.Tokenize if isinstance(message, Tokenize) else stub.Detokenize
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(message)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    [violation] = details_of(status_of_rpc(caught.value))["BadRequest"].field_violations
    assert violation.field == field
