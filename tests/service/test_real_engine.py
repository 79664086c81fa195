"""The real engine with SmolLM2-135M-Instruct, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from mlxforge.engine.config import EngineConfig
from mlxforge.engine.engine import Engine
from mlxforge.service.api import Api
from mlxforge.service.config import Settings
from mlxforge.service.registry import Registry
from mlxforge.service.server import Server
from mlxforge.v1 import (
    generation_pb2,
    generation_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    tokenizer_pb2,
    tokenizer_pb2_grpc,
)

from .serving import details_of, status_of_rpc, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

MODEL = "smollm2-135m-instruct"
GREEDY = {"temperature": 0}
Request = generation_pb2.GenerateRequest
INVALID = grpc.StatusCode.INVALID_ARGUMENT


class Service:
    """The server and stubs to it."""

    def __init__(self, engine: Engine, address: str, channel: grpc.aio.Channel) -> None:
        self.engine = engine
        self.address = address
        self.generation: Any = generation_pb2_grpc.GenerationServiceStub(channel)
        self.tokenizer: Any = tokenizer_pb2_grpc.TokenizerServiceStub(channel)
        self.models: Any = model_pb2_grpc.ModelServiceStub(channel)

    @property
    def idle(self) -> bool:
        return not self.engine._live


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Service]:
    engine = Engine(MODEL, EngineConfig(), model_id=MODEL)
    registry = Registry()
    registry.add(MODEL, engine)
    server = Server(Api(registry), Settings(address=("127.0.0.1:0",)))
    await server.start()
    try:
        await registry.load(MODEL)
        [address] = server.addresses
        async with grpc.aio.insecure_channel(address) as channel:
            yield Service(engine, address, channel)
        await server.drain(5.0)
    finally:
        await server.stop()
        await registry.close()


def question(text: str, **fields: Any) -> Request:
    request = Request(sampling_params=GREEDY, **fields)
    request.chat.messages.add(role="user", content=text)
    return request


async def text_of(service: Service, request: Request) -> str:
    call = service.generation.StreamGenerate(request)
    return "".join([response.delta.text async for response in call])


async def test_it_knows_the_capital_of_france(service: Service) -> None:
    request = question("What is the capital of France?", max_tokens=32)
    responses = [r async for r in service.generation.StreamGenerate(request)]
    assert len(responses) > 3
    text = "".join(r.delta.text for r in responses)
    assert "Paris" in text
    finish = responses[-1].finish
    assert finish.finish_reason == generation_pb2.FINISH_REASON_STOP
    assert finish.usage.prompt_tokens > 20
    ids = [i for r in responses for i in r.delta.token_ids]
    assert finish.usage.completion_tokens == len(ids)
    assert 0 < finish.timings.time_to_first_token_seconds <= finish.timings.total_seconds
    whole = await service.generation.Generate(request)
    assert whole.choices[0].text == text and list(whole.choices[0].token_ids) == ids


async def test_the_model_is_described(service: Service) -> None:
    model = (await service.models.GetModel(model_pb2.GetModelRequest())).model
    assert model.id == MODEL and model.default
    assert model.state == model_pb2.MODEL_STATE_READY
    assert model_pb2.MODEL_CAPABILITY_CHAT in model.capabilities
    assert model.limits.max_model_len == 8192 and model.weight_bytes > 50_000_000


async def test_tokens_there_and_back(service: Service) -> None:
    text = "Zoë paid 5 € for <|im_end|>."
    tokens = await service.tokenizer.Tokenize(tokenizer_pb2.TokenizeRequest(text=text))
    assert tokens.count == len(tokens.token_ids) == len(tokens.tokens) > 5
    back = tokenizer_pb2.DetokenizeRequest(token_ids=tokens.token_ids)
    assert (await service.tokenizer.Detokenize(back)).text == text
    from_ids = Request(max_tokens=4, sampling_params=GREEDY)
    from_ids.prompt_token_ids.ids.extend(tokens.token_ids)
    from_text = Request(prompt=text, max_tokens=4, sampling_params=GREEDY)
    assert await text_of(service, from_ids) == await text_of(service, from_text)


async def test_seeds_and_choices(service: Service) -> None:
    request = Request(prompt="Once upon a time", max_tokens=8, n=2)
    request.sampling_params.temperature, request.sampling_params.seed = 1.0, 7
    first, second = [await service.generation.Generate(request) for _ in range(2)]
    texts = [choice.text for choice in first.choices]
    assert texts == [choice.text for choice in second.choices]
    assert texts[0] != texts[1]


async def test_logprobs_carry_texts(service: Service) -> None:
    response = await service.generation.Generate(
        question("What is the capital of France?", max_tokens=4, logprobs=3)
    )
    [choice] = response.choices
    assert len(choice.logprobs) == len(choice.token_ids) == 4
    assert "".join(entry.chosen.token for entry in choice.logprobs) == choice.text
    for entry in choice.logprobs:
        assert len(entry.top) == 3 and entry.top[0] == entry.chosen


@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_ended_calls_free_the_engine(how: str, service: Service) -> None:
    request = question("Tell me a very long story.", max_tokens=2000, ignore_eos=True)
    timeout = 3.0 if how == "deadline" else None
    call = service.generation.StreamGenerate(request, timeout=timeout)
    await until(lambda: not service.idle)
    if how == "cancel":
        assert (await call.read()).delta.token_ids
        call.cancel()
    else:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            while await call.read():
                pass
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: service.idle)


BAD: list[tuple[Request, grpc.StatusCode, str]] = [
    (Request(prompt=""), INVALID, "prompt"),
    (Request(prompt="word " * 10_000), INVALID, "prompt"),
    (Request(prompt="a", sampling_params={"temperature": -1}), INVALID, "temperature"),
    (Request(prompt="a", sampling_params={"top_p": 2}), INVALID, "top_p"),
    (Request(prompt="a", stop_token_ids=[10**6]), INVALID, "stop_token_ids"),
    (Request(prompt="a", sampling_params={"logit_bias": {10**6: 1}}), INVALID, "logit_bias"),
    (Request(prompt_token_ids={"ids": [10**6]}), INVALID, "prompt_token_ids"),
    (Request(prompt="a", model="nope"), grpc.StatusCode.NOT_FOUND, ""),
    (Request(prompt="x" * 10 * 2**20), grpc.StatusCode.RESOURCE_EXHAUSTED, ""),
    (Request(chat={"messages": [{"role": "robot", "content": "x"}]}), INVALID, "role"),
    (Request(prompt="a", stop=["s"] * 10_000), INVALID, "stop"),
]


async def test_bad_requests_disturb_no_stream(service: Service) -> None:
    countries = ["France", "Italy", "Spain", "Japan", "Egypt", "Peru", "Norway", "Kenya"]
    requests = [
        question(f"Name the capital of {country}, and say why you like it.", max_tokens=12)
        for country in countries
    ]
    undisturbed = await asyncio.gather(*(text_of(service, request) for request in requests))
    streams = [asyncio.create_task(text_of(service, request)) for request in requests]
    await until(lambda: len(service.engine._live) == 8)
    for request, code, field in BAD:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.generation.Generate(request)
        assert caught.value.code() is code, caught.value.details()
        if field:
            details = details_of(status_of_rpc(caught.value))
            assert any(field in v.field for v in details["BadRequest"].field_violations)
    assert await asyncio.gather(*streams) == undisturbed
    assert service.idle
