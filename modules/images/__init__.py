"""Pictures: files with their infotext inside, taking pictures in from outside, resizing and grids.

`masks` and `colours` are imported by name: they need numpy, which the server starts faster without.
"""

from .decode import MAX_BYTES, BadPicture, decode_base64, decode_picture, flattened, open_picture, whole_picture
from .files import DiskFull, SaveFailed, marked_pictures, remove_unfinished, save_encoded, save_picture
from .grid import grid
from .marks import Mark, read_mark, remove_mark
from .metadata import PictureText, encode, picture_text, read_metadata
from .regions import Region, expand_region, masked_region
from .resize import ResizeMode, lanczos, nearest, resize_image
from .thumbnails import thumbnail
from .upscale import Upscaled, upscale

__all__ = [
    "MAX_BYTES",
    "BadPicture",
    "DiskFull",
    "Mark",
    "PictureText",
    "Region",
    "ResizeMode",
    "SaveFailed",
    "Upscaled",
    "decode_base64",
    "decode_picture",
    "encode",
    "expand_region",
    "flattened",
    "grid",
    "lanczos",
    "marked_pictures",
    "masked_region",
    "nearest",
    "open_picture",
    "picture_text",
    "read_mark",
    "read_metadata",
    "remove_mark",
    "remove_unfinished",
    "resize_image",
    "save_encoded",
    "save_picture",
    "thumbnail",
    "upscale",
    "whole_picture",
]
