"""What files there are: checkpoints, VAEs and networks, their contents, previews and hashes."""

from .averages import averages_as_weights
from .catalogue import Catalogue
from .entries import KINDS, Entry, Facts, Kind, entry_id
from .families import (
    CLIP_G,
    CLIP_L,
    EDM_SDXL,
    FAMILY_OF_WIDTH,
    VARIANT_OF_CHANNELS,
    Architecture,
    Family,
    Prediction,
    Variant,
    architecture,
    holds_vae,
    mistaken_for,
    named_prediction,
    refuse_others,
    unsupported,
)
from .fitting import misfit
from .folders import Folders
from .headers import Header, is_safetensors, read_header
from .made_for import a_model, called, family_of_metadata, family_of_names, family_of_widths, is_tried_on
from .pickles import UnsafePickle, check_pickle, read_stubs
from .picture_embeddings import IMAGE_SUFFIXES, NoEmbedding, read_picture_embedding
from .previews import Preview
from .resolve import resolve
from .stubs import Global, Opaque, TensorStub
from .styles import StyleEntry, StyleFiles

__all__ = [
    "CLIP_G",
    "CLIP_L",
    "EDM_SDXL",
    "FAMILY_OF_WIDTH",
    "IMAGE_SUFFIXES",
    "KINDS",
    "VARIANT_OF_CHANNELS",
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
    "a_model",
    "architecture",
    "averages_as_weights",
    "called",
    "check_pickle",
    "entry_id",
    "family_of_metadata",
    "family_of_names",
    "family_of_widths",
    "holds_vae",
    "is_safetensors",
    "is_tried_on",
    "misfit",
    "mistaken_for",
    "named_prediction",
    "read_header",
    "read_picture_embedding",
    "read_stubs",
    "refuse_others",
    "resolve",
    "unsupported",
]
