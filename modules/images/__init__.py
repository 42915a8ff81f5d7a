"""Pictures: files with their infotext inside, taking pictures in from outside, resizing and grids."""

from .decode import MAX_BYTES, BadPicture, decode_base64, decode_picture, flattened, open_picture, whole_picture
from .files import SaveFailed, save_picture, write_atomically
from .grid import grid
from .metadata import PictureText, encode, read_metadata
from .resize import ResizeMode, lanczos, nearest, resize_image
from .thumbnails import thumbnail

__all__ = [
    "MAX_BYTES",
    "BadPicture",
    "PictureText",
    "ResizeMode",
    "SaveFailed",
    "decode_base64",
    "decode_picture",
    "encode",
    "flattened",
    "grid",
    "lanczos",
    "nearest",
    "open_picture",
    "read_metadata",
    "resize_image",
    "save_picture",
    "thumbnail",
    "whole_picture",
    "write_atomically",
]
