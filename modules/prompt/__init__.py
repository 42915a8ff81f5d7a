"""The prompt language: text as the user writes it -> schedules, tags, weighted segments and chunks of tokens."""

from .attention import Break, Emphasis, Segment, parse_attention
from .chunks import EMPTY_CHUNK, Chunk, Chunked, EmbeddingSlot, chunk
from .comments import strip_comments
from .composition import Part, split_and
from .old_emphasis import OldChunk, chunk_the_old_way
from .parse import ParsedPrompt, parse_prompt
from .schedule import Scheduled, active, schedule
from .styles import Style, Styled, Unstyled, apply_styles, extract_styles, merge_styles, unstyled_fields
from .survey import EmbeddingUse, TokenCount, check_brackets, count_tokens, find_embeddings
from .tags import TAG_KINDS, NetworkTag, Tag, TagProblem, extract_tags, read_tag
from .tokens import BOS, EOS, Tokenizer
from .words import MAX_VECTORS, EmbeddingWords, embedding_words

__all__ = [
    "BOS",
    "EMPTY_CHUNK",
    "EOS",
    "MAX_VECTORS",
    "TAG_KINDS",
    "Break",
    "Chunk",
    "Chunked",
    "EmbeddingSlot",
    "EmbeddingUse",
    "EmbeddingWords",
    "Emphasis",
    "NetworkTag",
    "OldChunk",
    "ParsedPrompt",
    "Part",
    "Scheduled",
    "Segment",
    "Style",
    "Styled",
    "Tag",
    "TagProblem",
    "TokenCount",
    "Tokenizer",
    "Unstyled",
    "active",
    "apply_styles",
    "check_brackets",
    "chunk",
    "chunk_the_old_way",
    "count_tokens",
    "embedding_words",
    "extract_styles",
    "extract_tags",
    "find_embeddings",
    "merge_styles",
    "parse_attention",
    "parse_prompt",
    "read_tag",
    "schedule",
    "split_and",
    "strip_comments",
    "unstyled_fields",
]
