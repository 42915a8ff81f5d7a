"""What files there are: checkpoints, VAEs and networks, their contents, previews and hashes."""

from .averages import averages_as_weights
from .catalogue import Catalogue
from .entries import KINDS, Entry, Facts, Kind, entry_id
from .families import CLIP_G, CLIP_L, Architecture, Family, Prediction, Variant, architecture, refuse_others
from .fitting import misfit
from .folders import Folders
from .headers import Header, read_header
from .pickles import UnsafePickle, check_pickle, read_stubs
from .picture_embeddings import IMAGE_SUFFIXES, NoEmbedding, read_picture_embedding
from .previews import Preview
from .resolve import resolve
from .stubs import Global, Opaque, TensorStub
from .styles import StyleEntry, StyleFiles

__all__ = [
    "CLIP_G",
    "CLIP_L",
    "IMAGE_SUFFIXES",
    "KINDS",
    "Architecture",
    "Catalogue",
    "Entry",
    "Facts",
    "Family",
    "Folders",
    "Global",
    "Header",
    "Kind",
    "NoEmbedding",
    "Opaque",
    "Prediction",
    "Preview",
    "StyleEntry",
    "StyleFiles",
    "TensorStub",
    "UnsafePickle",
    "Variant",
    "architecture",
    "averages_as_weights",
    "check_pickle",
    "entry_id",
    "misfit",
    "read_header",
    "read_picture_embedding",
    "read_stubs",
    "refuse_others",
    "resolve",
]
