"""``mlxforge.v1.ModelService``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from mlxforge.engine.errors import InvalidRequest
from mlxforge.engine.output import Capability, ModelInfo
from mlxforge.engine.request import Pooling
from mlxforge.v1 import embedding_pb2, model_pb2

from ..registry import ModelEntry, ModelState, Registry
from ..registry.load import LoadStage
from .context import CallContext
from .embedding import POOLINGS
from .method import closing

_STATES = {
    ModelState.UNLOADED: model_pb2.MODEL_STATE_UNLOADED,
    ModelState.LOADING: model_pb2.MODEL_STATE_LOADING,
    ModelState.READY: model_pb2.MODEL_STATE_READY,
    ModelState.UNLOADING: model_pb2.MODEL_STATE_UNLOADING,
    ModelState.FAILED: model_pb2.MODEL_STATE_FAILED,
}
_CAPABILITIES = {
    Capability.GENERATE: model_pb2.MODEL_CAPABILITY_GENERATE,
    Capability.CHAT: model_pb2.MODEL_CAPABILITY_CHAT,
    Capability.TOOLS: model_pb2.MODEL_CAPABILITY_TOOLS,
    Capability.REASONING: model_pb2.MODEL_CAPABILITY_REASONING,
    Capability.EMBED: model_pb2.MODEL_CAPABILITY_EMBED,
}
_STAGES = {
    LoadStage.FETCHING: model_pb2.LoadModelResponse.STAGE_FETCHING,
    LoadStage.READING: model_pb2.LoadModelResponse.STAGE_READING,
    LoadStage.WARMING_UP: model_pb2.LoadModelResponse.STAGE_WARMING_UP,
}
_POOLINGS = {pooling: value for value, pooling in POOLINGS.items()}


@dataclass(frozen=True, slots=True)
class ModelService:
    """Describes the registry's models, in any state, and lets them come and go."""

    registry: Registry

    async def list_models(
        self, message: model_pb2.ListModelsRequest, context: CallContext
    ) -> model_pb2.ListModelsResponse:
        """All models, the defaults first."""
        models = [self._describe(entry) for entry in self.registry]
        models.sort(key=lambda model: not model.default)
        return model_pb2.ListModelsResponse(models=models)

    async def get_model(
        self, message: model_pb2.GetModelRequest, context: CallContext
    ) -> model_pb2.GetModelResponse:
        """One model."""
        entry = self.registry.get(message.model)
        context.use(entry.id)
        return model_pb2.GetModelResponse(model=self._describe(entry))

    async def load_model(
        self, message: model_pb2.LoadModelRequest, context: CallContext
    ) -> AsyncIterator[model_pb2.LoadModelResponse]:
        """Load a model, tell how far it is, and at last what it is."""
        if message.HasField("idle_ttl_seconds") and not message.idle_ttl_seconds:
            raise InvalidRequest.of("idle_ttl_seconds", "must be at least 1")
        context.use(self.registry.id_of(message.model, message.id))
        entry = self.registry.admit(
            message.model, message.id, pinned=message.pinned, idle_ttl=message.idle_ttl_seconds
        )
        steps = self.registry.loading(entry)
        async with closing(steps):
            async for step in steps:
                yield model_pb2.LoadModelResponse(
                    stage=_STAGES[step.stage], done=step.done, total=step.total
                )
        yield model_pb2.LoadModelResponse(
            stage=model_pb2.LoadModelResponse.STAGE_READY, model=self._describe(entry)
        )

    async def unload_model(
        self, message: model_pb2.UnloadModelRequest, context: CallContext
    ) -> model_pb2.UnloadModelResponse:
        """Unload a model once its requests have ended."""
        if not message.model:
            raise InvalidRequest.of("model", "is required")
        entry = self.registry.get(message.model)
        context.use(entry.id)
        freed = await self.registry.unload(entry.id)
        return model_pb2.UnloadModelResponse(freed_bytes=freed)

    def _describe(self, entry: ModelEntry) -> model_pb2.Model:
        model = model_pb2.Model(
            id=entry.id,
            state=_STATES[entry.state],
            error=entry.error,
            pinned=entry.pinned,
            default=self.registry.is_default(entry),
        )
        if entry.state is ModelState.READY and entry.info is not None:
            _add_info(model, entry.info)
        if entry.ready_time is not None:
            model.ready_time.FromNanoseconds(round(entry.ready_time * 1e9))
        return model


def _add_info(model: model_pb2.Model, info: ModelInfo) -> None:
    """What is known of a model once it is loaded."""
    model.architecture = info.architecture
    model.dtype = info.dtype
    model.weight_bytes = info.weight_bytes
    model.capabilities.extend(
        value for capability, value in _CAPABILITIES.items() if capability in info.capabilities
    )
    model.limits.CopyFrom(
        model_pb2.ModelLimits(
            max_model_len=info.max_model_len,
            max_tokens=info.max_tokens,
            max_n=info.max_n,
            vocab_size=info.vocab_size,
            max_running_requests=info.max_running_requests,
            max_waiting_requests=info.max_waiting_requests,
            max_embed_inputs=info.max_embed_inputs,
        )
    )
    if info.embedding_dimensions:
        model.embedding.dimensions = info.embedding_dimensions
        model.embedding.max_input_tokens = info.max_model_len
        model.embedding.pooling = (
            _POOLINGS[Pooling(info.embedding_pooling)]
            if info.embedding_pooling
            else embedding_pb2.POOLING_UNSPECIFIED
        )
