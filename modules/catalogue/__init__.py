"""What files there are: checkpoints, VAEs and networks, their contents, previews and hashes."""

from .pickles import UnsafePickle, check_pickle, read_stubs
from .stubs import Global, Opaque, TensorStub

__all__ = ["Global", "Opaque", "TensorStub", "UnsafePickle", "check_pickle", "read_stubs"]
