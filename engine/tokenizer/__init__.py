"""Text to token ids and back: tokenizer, chat templates, incremental detokenizer, stops."""

from .detokenizer import Detokenizer
from .stop import StopMatcher
from .tokenizer import Tokenizer

__all__ = ["Detokenizer", "StopMatcher", "Tokenizer"]
