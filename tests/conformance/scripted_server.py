"""A gRPC server that does what each request tells it to, for the tests of the clients.

What a real server does only under load or in trouble (be unavailable twice, stall, look at
what the client sent) is asked for in the prompt, which holds one JSON object::

    {"text": ["piece", "piece"]}                the pieces of the answer
    {"delay": 0.05}                             seconds before each piece
    {"fail": {"code": "UNAVAILABLE", ...}}      end with this status; with "times": 2 only the
                                                first two calls with this "key", with "after": 3
                                                after three pieces
    {"key": "a"}                                names a group of calls, for "times" and "report"
    {"report": "a"}                             answers with a JSON object about group "a":
                                                how many calls came, were cancelled, and finished
    {"metadata": true}                          answers with the request's metadata as JSON
    {"tool_calls": [{"name": ..., "arguments": ...}]}    calls tools

A chat is scripted by its last message; a ``tool`` message is answered with its own text.
``python scripted_server.py [address] [--token TOKEN] [--tls CERT KEY]`` prints the address it
listens on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from mlxforge.v1 import (
    chat_pb2,
    embedding_pb2,
    embedding_pb2_grpc,
    generation_pb2,
    generation_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    tokenizer_pb2,
    tokenizer_pb2_grpc,
    usage_pb2,
)

MODEL = "scripted"
Script = dict[str, Any]
Context = grpc.aio.ServicerContext[Any, Any]


class Calls:
    """How the calls of each group fared."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, int]] = defaultdict(
            lambda: {"started": 0, "finished": 0, "cancelled": 0, "failed": 0}
        )

    def add(self, script: Script, what: str) -> int:
        """Count one more of the script's group and tell how many there are."""
        group = self.counts[str(script.get("key", ""))]
        group[what] += 1
        return group[what]


def read_script(request: generation_pb2.GenerateRequest) -> Script:
    """The script of a request; text that is no JSON object is answered with itself."""
    source = request.prompt
    if request.HasField("chat"):
        source = request.chat.messages[-1].content
        if request.chat.messages[-1].role == "tool":
            return {"text": [source]}
    try:
        script = json.loads(source)
    except ValueError:
        return {"text": [source]}
    return script if isinstance(script, dict) else {"text": [source]}


def failure(fail: Script) -> grpc.Status:
    """The status of a script's ``fail``."""
    code = code_pb2.Code.Value(fail["code"])
    status = status_pb2.Status(code=code, message=fail.get("message", fail["code"].lower()))
    if "reason" in fail:
        status.details.append(
            packed(error_details_pb2.ErrorInfo(reason=fail["reason"], domain="mlxforge"))
        )
    if "retry_after" in fail:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(fail["retry_after"] * 1e9))
        status.details.append(packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    if "fields" in fail:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
            for field, description in fail["fields"].items()
        ]
        status.details.append(packed(error_details_pb2.BadRequest(field_violations=violations)))
    return rpc_status.to_status(status)


def packed(message: Any) -> any_pb2.Any:
    """The message in an ``Any``."""
    detail = any_pb2.Any()
    detail.Pack(message)
    return detail


class Generation(generation_pb2_grpc.GenerationServiceServicer):
    """Answers by script."""

    def __init__(self) -> None:
        self.calls = Calls()

    async def StreamGenerate(
        self, request: generation_pb2.GenerateRequest, context: Context
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        """Stream the script's pieces."""
        script = read_script(request)
        number = self.calls.add(script, "started")
        outcome = "cancelled"
        try:
            async for message in self._answer(request, script, number, context):
                yield message
            outcome = "finished"
        except grpc.aio.AbortError:
            outcome = "failed"
            raise
        finally:
            self.calls.add(script, outcome)

    async def Generate(
        self, request: generation_pb2.GenerateRequest, context: Context
    ) -> generation_pb2.GenerateResponse:
        """The same as one answer."""
        choice = generation_pb2.GenerateChoice()
        response = generation_pb2.GenerateResponse(model=MODEL)
        async for message in self.StreamGenerate(request, context):
            delta, finish = message.delta, message.finish
            choice.text += delta.text
            choice.tool_calls.extend(
                chat_pb2.ToolCall(id=call.id, name=call.name, arguments=call.arguments)
                for call in delta.tool_calls
            )
            if message.HasField("finish"):
                choice.finish_reason = finish.finish_reason
                response.usage.CopyFrom(finish.usage)
        response.choices.append(choice)
        return response

    async def _answer(
        self,
        request: generation_pb2.GenerateRequest,
        script: Script,
        number: int,
        context: Context,
    ) -> AsyncIterator[generation_pb2.StreamGenerateResponse]:
        pieces = self._pieces(request, script, context)
        fail = script.get("fail")
        if fail and number > fail.get("times", number):
            fail = None
        sent = 0
        for piece in pieces:
            if fail and sent >= fail.get("after", 0):
                break
            await asyncio.sleep(script.get("delay", 0))
            yield message_of(generation_pb2.GenerateDelta(text=piece, token_ids=[sent]), sent == 0)
            sent += 1
        if fail:
            await context.abort_with_status(failure(fail))
        reason = generation_pb2.FINISH_REASON_STOP
        if calls := script.get("tool_calls"):
            reason = generation_pb2.FINISH_REASON_TOOL_CALLS
            for index, call in enumerate(calls):
                delta = chat_pb2.ToolCallDelta(index=index, id=f"call_{index}", **call)
                yield message_of(generation_pb2.GenerateDelta(tool_calls=[delta]), False)
        usage = usage_pb2.Usage(prompt_tokens=1, completion_tokens=sent)
        yield generation_pb2.StreamGenerateResponse(
            finish=generation_pb2.GenerateFinish(finish_reason=reason, usage=usage)
        )

    def _pieces(
        self, request: generation_pb2.GenerateRequest, script: Script, context: Context
    ) -> list[str]:
        if "report" in script:
            return [json.dumps(self.calls.counts[script["report"]])]
        if script.get("metadata"):
            metadata = context.invocation_metadata() or ()
            return [json.dumps({key: str(value) for key, value in metadata})]
        if script.get("constraint"):
            return [request.json_schema]
        return list(script.get("text", ["Hello", ", ", "world", "."]))


def message_of(
    delta: generation_pb2.GenerateDelta, first: bool
) -> generation_pb2.StreamGenerateResponse:
    """A message of the stream; the first one names the model."""
    return generation_pb2.StreamGenerateResponse(
        id="req_1" if first else "", model=MODEL if first else "", delta=delta
    )


class Embedding(embedding_pb2_grpc.EmbeddingServiceServicer):
    """Embeds a text as its length and its number of vowels."""

    def _embeddings(self, request: embedding_pb2.EmbedRequest) -> list[embedding_pb2.Embedding]:
        return [
            embedding_pb2.Embedding(
                index=index, values=[len(each.text), sum(map(each.text.count, "aeiou"))]
            )
            for index, each in enumerate(request.inputs)
        ]

    async def Embed(
        self, request: embedding_pb2.EmbedRequest, context: Context
    ) -> embedding_pb2.EmbedResponse:
        """Embed one list."""
        return embedding_pb2.EmbedResponse(model=MODEL, embeddings=self._embeddings(request))

    async def StreamEmbed(
        self, request_iterator: AsyncIterator[embedding_pb2.EmbedRequest], context: Context
    ) -> AsyncIterator[embedding_pb2.StreamEmbedResponse]:
        """Embed list after list."""
        sequence = 0
        async for request in request_iterator:
            yield embedding_pb2.StreamEmbedResponse(
                sequence=sequence, model=MODEL, embeddings=self._embeddings(request)
            )
            sequence += 1


class Tokenizer(tokenizer_pb2_grpc.TokenizerServiceServicer):
    """One token for each code point."""

    async def Tokenize(
        self, request: tokenizer_pb2.TokenizeRequest, context: Context
    ) -> tokenizer_pb2.TokenizeResponse:
        """Code points."""
        ids = [ord(character) for character in request.text]
        return tokenizer_pb2.TokenizeResponse(
            token_ids=ids, tokens=list(request.text), count=len(ids)
        )

    async def Detokenize(
        self, request: tokenizer_pb2.DetokenizeRequest, context: Context
    ) -> tokenizer_pb2.DetokenizeResponse:
        """And back."""
        return tokenizer_pb2.DetokenizeResponse(text="".join(map(chr, request.token_ids)))


class Models(model_pb2_grpc.ModelServiceServicer):
    """One model, and any that is loaded."""

    def __init__(self) -> None:
        self.models = {MODEL: self._model(MODEL)}

    def _model(self, name: str) -> model_pb2.Model:
        return model_pb2.Model(id=name, state=model_pb2.MODEL_STATE_READY, default=name == MODEL)

    async def ListModels(
        self, request: model_pb2.ListModelsRequest, context: Context
    ) -> model_pb2.ListModelsResponse:
        """All."""
        return model_pb2.ListModelsResponse(models=self.models.values())

    async def GetModel(
        self, request: model_pb2.GetModelRequest, context: Context
    ) -> model_pb2.GetModelResponse:
        """One."""
        return model_pb2.GetModelResponse(model=await self._find(request.model or MODEL, context))

    async def LoadModel(
        self, request: model_pb2.LoadModelRequest, context: Context
    ) -> AsyncIterator[model_pb2.LoadModelResponse]:
        """Two steps of progress, then the model."""
        for done in (1, 2):
            yield model_pb2.LoadModelResponse(
                stage=model_pb2.LoadModelResponse.STAGE_READING, done=done, total=2
            )
        model = self.models.setdefault(request.model, self._model(request.model))
        yield model_pb2.LoadModelResponse(
            stage=model_pb2.LoadModelResponse.STAGE_READY, model=model
        )

    async def UnloadModel(
        self, request: model_pb2.UnloadModelRequest, context: Context
    ) -> model_pb2.UnloadModelResponse:
        """Forget it."""
        await self._find(request.model, context)
        del self.models[request.model]
        return model_pb2.UnloadModelResponse(freed_bytes=1 << 40)

    async def _find(self, name: str, context: Context) -> model_pb2.Model:
        if name not in self.models:
            fail = {"code": "NOT_FOUND", "reason": "MODEL_NOT_FOUND", "message": f"no {name!r}"}
            await context.abort_with_status(failure(fail))
        return self.models[name]


class Bearer(grpc.aio.ServerInterceptor):
    """Refuses calls without the token."""

    def __init__(self, token: str) -> None:
        self.expected = f"Bearer {token}"

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Check one call."""
        if dict(details.invocation_metadata).get("authorization") == self.expected:
            return await continuation(details)
        fail = {"code": "UNAUTHENTICATED", "reason": "TOKEN_INVALID", "message": "wrong token"}

        async def refuse(_: Any, context: Context) -> None:
            await context.abort_with_status(failure(fail))

        return grpc.unary_unary_rpc_method_handler(refuse)


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until killed or until standard input ends."""
    server = grpc.aio.server(interceptors=[Bearer(arguments.token)] if arguments.token else [])
    generation_pb2_grpc.add_GenerationServiceServicer_to_server(Generation(), server)
    embedding_pb2_grpc.add_EmbeddingServiceServicer_to_server(Embedding(), server)
    tokenizer_pb2_grpc.add_TokenizerServiceServicer_to_server(Tokenizer(), server)
    model_pb2_grpc.add_ModelServiceServicer_to_server(Models(), server)
    if arguments.tls:
        certificate, key = arguments.tls
        credentials = grpc.ssl_server_credentials([(key, certificate)])
        port = server.add_secure_port(arguments.address, credentials)
    else:
        port = server.add_insecure_port(arguments.address)
    await server.start()
    unix = arguments.address.startswith("unix:")
    print(arguments.address if unix else f"127.0.0.1:{port}", flush=True)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, wait_for_parent)
    await server.stop(None)


def wait_for_parent() -> None:
    """Return when the process that started this one closes its pipe, or dies."""
    sys.stdin.buffer.read()


def file_bytes(path: str) -> bytes:
    """The content of a file named on the command line."""
    return Path(path).read_bytes()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("address", nargs="?", default="127.0.0.1:0")
    parser.add_argument("--token", default="")
    parser.add_argument("--tls", nargs=2, type=file_bytes, metavar=("CERT", "KEY"))
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
