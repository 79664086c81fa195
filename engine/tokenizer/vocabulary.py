"""The bytes behind each token id."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>\Z")


class Spelling(enum.Enum):
    """How a vocabulary spells bytes."""

    BYTE_LEVEL = "byte_level"  # GPT-2's printable stand-in for each byte
    SENTENCEPIECE = "sentencepiece"  # "▁" for a space, <0xAB> for a byte
    WORDPIECE = "wordpiece"  # "##" before a continuation, a space before all else
    PLAIN = "plain"  # as it stands


def _byte_level_alphabet() -> dict[str, int]:
    """GPT-2's map of printable characters to bytes (openai/gpt-2, bytes_to_unicode)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    alphabet.update({chr(256 + index): byte for index, byte in enumerate(others)})
    return alphabet


BYTE_LEVEL_ALPHABET = _byte_level_alphabet()


def spelled_bytes(token: str, spelling: Spelling) -> bytes:
    """The bytes that a vocabulary entry stands for."""
    if spelling is Spelling.BYTE_LEVEL:
        try:
            return bytes(map(BYTE_LEVEL_ALPHABET.__getitem__, token))
        except KeyError:
            return token.encode("utf-8", "replace")
    if spelling is Spelling.SENTENCEPIECE:
        if match := _BYTE_TOKEN.match(token):
            return bytes([int(match[1], 16)])
        return token.replace("▁", " ").encode("utf-8", "replace")
    if spelling is Spelling.WORDPIECE:
        text = token[2:] if token.startswith("##") else f" {token}"
        return text.encode("utf-8", "replace")
    return token.encode("utf-8", "replace")


def byte_table(
    vocabulary: Mapping[str, int], added: Mapping[int, str], spelling: Spelling
) -> Sequence[bytes]:
    """Bytes of every id up to the highest one; empty for ids that no token has.

    ``added`` are the tokens matched in text as they stand, special ones included; even so
    sentencepiece's runs of spaces are spelled with "▁" there.
    """
    size = max([*vocabulary.values(), *added, -1]) + 1
    table = [b""] * size
    for token, index in vocabulary.items():
        table[index] = spelled_bytes(token, spelling)
    for index, text in added.items():
        only_spaces = spelling is Spelling.SENTENCEPIECE and not text.strip("▁")
        table[index] = (text.replace("▁", " ") if only_spaces else text).encode("utf-8", "replace")
    return table
