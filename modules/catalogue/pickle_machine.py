"""A pickle interpreter that cannot run code: it builds plain containers and records everything else by name.

Python's own unpickler is safe only as long as every path to a call is closed from outside. This one has none:
the instructions that would call something (REDUCE, NEWOBJ, BUILD ...) make a `TensorStub`, a dict or an `Opaque`,
and a name outside `WHITELIST` ends the reading.
The instructions are those of PEP 307 and PEP 3154, as the module `pickletools` describes them.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from .stubs import Global, Opaque, Span, TensorStub

MAX_INSTRUCTIONS = 2_000_000
"""A Stable Diffusion checkpoint with optimizer state takes about 400,000."""

MAX_BITS = 128
"""Of a whole number; PyTorch's own mark has 80."""

_DTYPES = {
    "Double": "F64",
    "Float": "F32",
    "Half": "F16",
    "BFloat16": "BF16",
    "Long": "I64",
    "Int": "I32",
    "Short": "I16",
    "Char": "I8",
    "Byte": "U8",
    "Bool": "BOOL",
    "ComplexFloat": "C64",
    "ComplexDouble": "C128",
}
_STORAGES = {f"{name}Storage": dtype for name, dtype in _DTYPES.items()} | {"UntypedStorage": "U8"}
_TORCH_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
    "complex64": "C64",
    "complex128": "C128",
}

WHITELIST: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "collections": frozenset({"OrderedDict"}),
        "_codecs": frozenset({"encode"}),
        "builtins": frozenset({"set", "frozenset", "complex", "bytearray"}),
        "__builtin__": frozenset({"set", "frozenset", "complex", "bytearray"}),
        "torch": frozenset({*_STORAGES, *_TORCH_DTYPES, "Size", "device"}),
        "torch.cuda": frozenset(_STORAGES),
        "torch.storage": frozenset({"UntypedStorage", "TypedStorage", "_TypedStorage", "_UntypedStorage"}),
        "torch._utils": frozenset(
            {
                "_rebuild_tensor",
                "_rebuild_tensor_v2",
                "_rebuild_tensor_v3",
                "_rebuild_parameter",
                "_rebuild_parameter_with_state",
                "_rebuild_device_tensor_from_numpy",
            }
        ),
        "torch._tensor": frozenset({"_rebuild_from_type_v2"}),
        "torch.nn.parameter": frozenset({"Parameter"}),
        "torch.nn.modules.container": frozenset({"ParameterDict"}),
        "numpy": frozenset({"dtype", "ndarray"}),
        "numpy.core.multiarray": frozenset({"scalar", "_reconstruct"}),
        "numpy._core.multiarray": frozenset({"scalar", "_reconstruct"}),
        "pytorch_lightning.callbacks.model_checkpoint": frozenset({"ModelCheckpoint"}),
    }
)
"""Every name a weights file may mention (behaviour R001)."""


class PickleError(Exception):
    """A pickle that is damaged or uses an instruction no weights file needs."""


class ForbiddenGlobal(PickleError):
    """A pickle that mentions a function or class outside the whitelist."""

    def __init__(self, name: Global) -> None:
        self.name = name
        super().__init__(str(name))


class Readable(Protocol):
    """The part of a binary file that reading a pickle needs."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, fewer at the end."""

    def readline(self) -> bytes:
        """The rest of the line."""


class _Mark:
    """The place on the stack where a variable-length group begins."""


_MARK = _Mark()
_Scalar = str | int | float | bool | bytes | None
_PUSHED = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "NONE"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    }
)
"""The instructions that do nothing but push their argument."""


def read_pickle(stream: Readable) -> Any:
    """The object of the next pickle in `stream`, with stubs for tensors; the stream is left after its STOP.

    Raises ForbiddenGlobal for a name outside the whitelist and PickleError for anything damaged.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count > MAX_INSTRUCTIONS:
                raise PickleError(f"more than {MAX_INSTRUCTIONS:,} instructions")
            if opcode.name == "STOP":
                return machine.pop()
            machine.execute(opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, UnicodeError, OverflowError, DeprecationWarning) as error:
        # Where warnings are errors, the last is what a text with a wrong escape gives: no pickle is written so.
        raise PickleError(str(error)) from error
    raise PickleError("it ends before its STOP instruction")


class _Machine:
    """The stack and memo of one pickle; a method per instruction that does more than push its argument."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def execute(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        if name in _PUSHED:
            if isinstance(argument, int) and argument.bit_length() > MAX_BITS:
                raise PickleError(f"a number of {argument.bit_length():,} bits")
            self.stack.append(argument)
            return
        if name in ("PROTO", "FRAME"):
            return
        action = _ACTIONS.get(name)
        if action is None:
            raise PickleError(f"the instruction {name} has no place in a weights file")
        action(self, argument)

    def pop(self) -> Any:
        """Take the topmost object; the start of a group is not an object."""
        value = self.stack.pop()
        if value is _MARK:
            raise PickleError("a group is used where an object belongs")
        return value

    def pop_group(self) -> list[Any]:
        """Take every object above the topmost mark, and the mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                group = self.stack[place + 1 :]
                del self.stack[place:]
                return group
        raise PickleError("a group ends that never began")

    def top(self, kind: type) -> Any:
        """The topmost object, which must be of the given kind."""
        value = self.stack[-1]
        if not isinstance(value, kind):
            raise PickleError(f"an instruction for a {kind.__name__} is used on a {type(value).__name__}")
        return value

    def push_tuple(self, size: int) -> None:
        items = [self.pop() for _ in range(size)]
        self.stack.append(tuple(reversed(items)))

    def append(self, _: Any) -> None:
        value = self.pop()
        self.top(list).append(value)

    def appends(self, _: Any) -> None:
        group = self.pop_group()
        self.top(list).extend(group)

    def add_items(self, _: Any) -> None:
        group = self.pop_group()
        self.top(set).update(_key(item) for item in group)

    def set_item(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self.set_pairs([key, value])

    def set_items(self, _: Any) -> None:
        self.set_pairs(self.pop_group())

    def set_pairs(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Opaque):
            return
        self.top(dict).update(_pairs(flat))

    def remember(self, key: int | None) -> None:
        value = self.stack[-1]
        if value is _MARK:
            raise PickleError("a group is remembered where an object belongs")
        self.memo[len(self.memo) if key is None else key] = value

    def pop_any(self, _: Any) -> None:
        self.stack.pop()

    def name_global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.push_global(module, name)

    def name_stacked_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("a global's name is not text")
        self.push_global(module, name)

    def push_global(self, module: str, name: str) -> None:
        mentioned = Global(module, name)
        if name not in WHITELIST.get(module, ()):
            raise ForbiddenGlobal(mentioned)
        self.stack.append(mentioned)

    def reduce(self, _: Any) -> None:
        args, maker = self.pop(), self.pop()
        self.stack.append(_made(maker, args))

    def new_object(self, _: Any) -> None:
        self.reduce(None)

    def new_object_with_names(self, _: Any) -> None:
        self.pop()
        self.reduce(None)

    def build(self, _: Any) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Opaque):
            target.state = state
        elif not isinstance(target, (dict, TensorStub)):
            raise PickleError(f"a state is set on a {type(target).__name__}")

    def storage(self, _: Any) -> None:
        """Push the stub of a storage: ("storage", class, key, location, number of elements, ...)."""
        reference = self.pop()
        if not isinstance(reference, tuple) or len(reference) < 5 or reference[0] != "storage":
            raise PickleError("a persistent object is not a tensor's storage")
        kind, length = reference[1], reference[4]
        if not isinstance(kind, Global) or not isinstance(length, int):
            raise PickleError("a tensor's storage has no type or length")
        self.stack.append(TensorStub(_STORAGES.get(kind.name, "U8"), (length,), Span(0, str(reference[2]))))


_ACTIONS: Mapping[str, Callable[[_Machine, Any], None]] = MappingProxyType(
    {
        "MARK": lambda m, _: m.stack.append(_MARK),
        "POP": _Machine.pop_any,
        "POP_MARK": lambda m, _: m.pop_group() and None,
        "DUP": lambda m, _: m.stack.append(m.stack[-1]),
        "NEWTRUE": lambda m, _: m.stack.append(True),
        "NEWFALSE": lambda m, _: m.stack.append(False),
        "EMPTY_LIST": lambda m, _: m.stack.append([]),
        "EMPTY_DICT": lambda m, _: m.stack.append({}),
        "EMPTY_SET": lambda m, _: m.stack.append(set()),
        "EMPTY_TUPLE": lambda m, _: m.stack.append(()),
        "LIST": lambda m, _: m.stack.append(m.pop_group()),
        "TUPLE": lambda m, _: m.stack.append(tuple(m.pop_group())),
        "DICT": lambda m, _: m.stack.append(_pairs(m.pop_group())),
        "FROZENSET": lambda m, _: m.stack.append(frozenset(_key(item) for item in m.pop_group())),
        "TUPLE1": lambda m, _: m.push_tuple(1),
        "TUPLE2": lambda m, _: m.push_tuple(2),
        "TUPLE3": lambda m, _: m.push_tuple(3),
        "APPEND": _Machine.append,
        "APPENDS": _Machine.appends,
        "ADDITEMS": _Machine.add_items,
        "SETITEM": _Machine.set_item,
        "SETITEMS": _Machine.set_items,
        "GET": lambda m, key: m.stack.append(m.memo[key]),
        "BINGET": lambda m, key: m.stack.append(m.memo[key]),
        "LONG_BINGET": lambda m, key: m.stack.append(m.memo[key]),
        "PUT": _Machine.remember,
        "BINPUT": _Machine.remember,
        "LONG_BINPUT": _Machine.remember,
        "MEMOIZE": _Machine.remember,
        "GLOBAL": _Machine.name_global,
        "STACK_GLOBAL": _Machine.name_stacked_global,
        "REDUCE": _Machine.reduce,
        "NEWOBJ": _Machine.new_object,
        "NEWOBJ_EX": _Machine.new_object_with_names,
        "BUILD": _Machine.build,
        "BINPERSID": _Machine.storage,
    }
)


def _made(maker: Any, args: Any) -> Any:
    """What calling `maker` would give, as a stub."""
    if not isinstance(maker, Global) or not isinstance(args, tuple):
        raise PickleError("something that is not a function is called")
    match str(maker):
        case "collections.OrderedDict":
            return _ordered(args)
        case "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2":
            return _tensor(args)
        case "torch._utils._rebuild_tensor_v3":
            return _tensor(args, dtype=args[6])
        case "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state":
            return args[0]
        case "torch._tensor._rebuild_from_type_v2":
            return _made(args[0], args[2])
        case "torch.Size":
            return tuple(args[0])
        case _:
            return Opaque(maker, args)


def _tensor(args: tuple[Any, ...], dtype: Any = None) -> TensorStub:
    """The stub of a tensor from (storage, offset, size, stride, ...)."""
    storage, size = args[0], args[2]
    if not isinstance(storage, TensorStub) or not isinstance(size, tuple):
        raise PickleError("a tensor without storage or shape")
    if not all(isinstance(length, int) and length >= 0 for length in size):
        raise PickleError(f"a tensor of shape {size}")
    element = _TORCH_DTYPES.get(dtype.name, dtype.name) if isinstance(dtype, Global) else storage.dtype
    return TensorStub(element, size, _span(storage, args[1], args[3] if len(args) > 3 else None))


def _span(storage: TensorStub, start: Any, stride: Any) -> Span | None:
    """Where the tensor lies in its storage; None where that is told wrongly."""
    told = (start, *stride) if isinstance(stride, tuple) else (None,)
    if storage.span is None or not all(isinstance(number, int) and number >= 0 for number in told):
        return None
    return Span(start, storage.span.storage, stride)


def _ordered(args: tuple[Any, ...]) -> dict[Any, Any]:
    """The dict of OrderedDict() or OrderedDict([[key, value], ...])."""
    if not args:
        return {}
    return {_key(key): value for key, value in args[0]}


def _pairs(flat: list[Any]) -> dict[Any, Any]:
    """The dict of key, value, key, value ..."""
    if len(flat) % 2:
        raise PickleError("a dict's last key has no value")
    return {_key(key): value for key, value in zip(flat[::2], flat[1::2], strict=True)}


def _key(value: Any) -> Any:
    """The value itself if it may be a dict's key.

    Only flat keys: hashing a tuple nested a million deep would overflow the interpreter's own stack. The name of a
    class is one: the first SD 1.x files list their training callbacks so.
    """
    if isinstance(value, _Scalar | Global):
        return value
    if isinstance(value, tuple) and all(isinstance(item, _Scalar) for item in value):
        return value
    raise PickleError(f"a {type(value).__name__} is used as a key")
