"""The RPCs of the schema without a transport: ``Api(registry).methods``."""

from .api import Api
from .context import CallContext, CallRecord, new_request_id
from .method import RpcMethod

__all__ = ["Api", "CallContext", "CallRecord", "RpcMethod", "new_request_id"]
