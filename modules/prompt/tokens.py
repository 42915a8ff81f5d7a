"""CLIP's byte-pair encoding: text -> token ids, as OpenAI published it (Radford et al. 2021, arXiv:2103.00020)."""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import ftfy
import tokenizers
from tokenizers import AddedToken, Regex, models, pre_tokenizers

BOS = 49406
EOS = 49407
COMMA = 267

PIECE = 2_000
"""Characters given to the encoder at once: for one long text it takes more than twice as long as for its two halves."""

MERGES = Path(__file__).with_name("clip_merges.txt.xz")

_SPECIAL = ("<|startoftext|>", "<|endoftext|>")
_END_OF_WORD = "</w>"
_WORD = r"(?i)<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
_SPLIT_SPECIAL = re.compile(r"(<\|startoftext\|>|<\|endoftext\|>)")
_WHITE_SPACE = re.compile(r"\s+")
_NOTHING_TO_MEND = re.compile(r"[\t\n -%'-~]*")


class Tokenizer:
    """CLIP's tokeniser. Making one costs nothing: the vocabulary is read at the first call."""

    def encode(self, text: str) -> tuple[int, ...]:
        """The token ids of any text, without BOS and EOS (`CLIPTokenizer(text, add_special_tokens=False)`)."""
        cleaned = (piece if piece in _SPECIAL else _clean(piece) for piece in _SPLIT_SPECIAL.split(text))
        pieces = (piece for whole in cleaned for piece in _cut(whole))
        return tuple(token for piece in pieces for token in self._encoder.encode(piece).ids)

    def count(self, text: str) -> int:
        """How many tokens the text has; its cut into chunks and its embeddings are `count_tokens`'s affair."""
        return len(self.encode(text))

    def decode(self, ids: Iterable[int]) -> str:
        """The words that the ids stand for, in lower case and with single spaces; half a letter becomes U+FFFD."""
        tokens = "".join(self._tokens[token] for token in ids)
        letters = _byte_letters()
        words = (bytes(letters[letter] for letter in word) for word in tokens.split(_END_OF_WORD))
        return b" ".join(words).decode("utf-8", "replace").strip()

    @cached_property
    def vocabulary(self) -> Mapping[str, int]:
        """Every token and its id; a token is written in GPT-2's letters for bytes, `</w>` at a word's end."""
        return MappingProxyType({token: index for index, token in enumerate(self._tokens)})

    @cached_property
    def _tokens(self) -> list[str]:
        return _vocabulary(self._merges)

    @cached_property
    def _merges(self) -> list[tuple[str, str]]:
        return _read_merges(MERGES)

    @cached_property
    def _encoder(self) -> tokenizers.Tokenizer:
        bpe = models.BPE(dict(self.vocabulary), self._merges, end_of_word_suffix=_END_OF_WORD)
        encoder = tokenizers.Tokenizer(bpe)
        encoder.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_WORD), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        encoder.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in _SPECIAL])
        return encoder


def _clean(text: str) -> str:
    """Mended by ftfy, white space collapsed, lower case: what CLIP does before it cuts words."""
    # ftfy changes ASCII only at "&" and control characters, and takes its time to say so.
    mended = text if _NOTHING_TO_MEND.fullmatch(text) else ftfy.fix_text(text)
    return _WHITE_SPACE.sub(" ", mended).strip().lower()


def _cut(text: str) -> Iterator[str]:
    """The text in pieces of about PIECE characters, cut between words, where no token can be."""
    start = 0
    while len(text) - start > PIECE:
        end = text.rfind(" ", start, start + PIECE)
        if end <= start:
            end = text.find(" ", start + PIECE)
        if end < 0:
            break
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _read_merges(path: Path) -> list[tuple[str, str]]:
    lines = lzma.decompress(path.read_bytes()).decode("utf-8").splitlines()
    return [(left, right) for left, _, right in (line.partition(" ") for line in lines)]


def _vocabulary(merges: list[tuple[str, str]]) -> list[str]:
    """Every token in the order of its id: bytes, bytes that end a word, merges, BOS, EOS."""
    letters = list(_byte_letters())
    return [*letters, *(letter + _END_OF_WORD for letter in letters), *map("".join, merges), *_SPECIAL]


def _byte_letters() -> dict[str, int]:
    """The 256 bytes as printable characters (GPT-2's table): those that print as themselves come first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = sorted(set(range(256)) - set(printable))
    letters = [*printable, *range(256, 256 + len(others))]
    return {chr(letter): byte for letter, byte in zip(letters, (*printable, *others), strict=True)}
