"""SIMD vectors as numba values: one number for each of `LANES` bands, kept in a register.

The compiler vectorises a loop over bands if it likes to; a recursive filter's states then go through memory, sample by
sample. With a type for a whole vector, kernels are written as for one band (`y = x + pole * y`), and the states of all
lanes stay in registers. Three types: `V`, float32; `D`, float64; `I`, int32 (also masks: -1 or 0 in each lane).

Arrays are flat and C-contiguous; `load` and `store` take the index of the first of `LANES` elements. Nothing checks
bounds: kernels are called by functions that do. Products and sums may be fused, nothing else may be reordered.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import extending
from numba.core.cgutils import get_or_insert_function
from numba.core.extending import models, overload, register_model
from numba.core.registry import cpu_target

# As numba compiles for it, which NUMBA_CPU_FEATURES can change: so code that it keeps is never of another width.
LANES = 16 if "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2].split(",") else 8
"""Bands side by side. Where a processor's registers are narrower, LLVM splits the vectors."""

# Its own types describe what the decorated function receives, not what its caller does.
intrinsic: Any = extending.intrinsic

_FLAGS = ("contract", "nsz")
_INDEX = ir.IntType(32)


class _Vector(types.Type):  # type: ignore[misc]
    """A vector of `LANES` numbers of an LLVM type."""

    def __init__(self, name: str, element: Any, scalar: Any) -> None:
        super().__init__(name=name)
        self.llvm = ir.VectorType(element, LANES)
        self.scalar = scalar


class _Single(_Vector):
    def __init__(self) -> None:
        super().__init__(f"V{LANES}", ir.FloatType(), types.float32)


class _Double(_Vector):
    def __init__(self) -> None:
        super().__init__(f"D{LANES}", ir.DoubleType(), types.float64)


class _Integer(_Vector):
    def __init__(self) -> None:
        super().__init__(f"I{LANES}", ir.IntType(32), types.int32)


V, D, I = _Single(), _Double(), _Integer()  # noqa: E741
_FLOATS, _ALL = (V, D), (V, D, I)
_OF_SCALAR = {vector.scalar: vector for vector in _ALL}


@register_model(_Single)
@register_model(_Double)
@register_model(_Integer)
class _Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, kind.llvm)


def _operator(symbol: Callable[..., Any], operand: tuple[Any, ...], instruction: str, *, floating: bool) -> None:
    """Give the vectors of some types an operator, which LLVM calls so."""

    @intrinsic  # type: ignore[untyped-decorator]
    def apply(typing_context: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            build = getattr(builder, instruction)
            return build(*arguments, flags=_FLAGS) if floating else build(*arguments)

        return a(a, a), code

    @overload(symbol)
    def operate(a: Any, b: Any) -> Any:
        # With the annotations of the function around it: numba compares them.
        def implementation(a: Any, b: Any) -> Any:
            return apply(a, b)

        return implementation if a in operand and a == b else None


for _symbol, _float, _int in (
    (operator.add, "fadd", "add"),
    (operator.sub, "fsub", "sub"),
    (operator.mul, "fmul", None),
    (operator.truediv, "fdiv", None),
    (operator.lshift, None, "shl"),
    (operator.rshift, None, "ashr"),
    (operator.and_, None, "and_"),
):
    if _float:
        _operator(_symbol, _FLOATS, _float, floating=True)
    if _int:
        _operator(_symbol, (I,), _int, floating=False)


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any, vector: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), ir.PointerType(vector.llvm))


def _alignment(vector: Any) -> int:
    return int(vector.scalar.bitwidth) // 8


@intrinsic  # type: ignore[untyped-decorator]
def load(typing_context: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    """The vector whose first element is at this index of an array of float32, float64 or int32."""
    vector = _OF_SCALAR[array.dtype]

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loaded = builder.load(_address(context, builder, signature.args[0], arguments[0], arguments[1], vector))
        loaded.align = _alignment(vector)
        return loaded

    return vector(array, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:  # noqa: ARG001
    """Write a vector to an array of its own type of numbers, from this index on."""
    if _OF_SCALAR[array.dtype] != value:
        raise TypeError(f"{value} cannot be stored in an array of {array.dtype}")

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], arguments[0], arguments[1], value)
        builder.store(arguments[2], address).align = _alignment(value)
        return context.get_dummy_value()

    return types.none(array, types.intp, value), code


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    """Have the second cache fetch the vector at this index, which may lie outside the array: a hint, no access."""
    vector = _OF_SCALAR[array.dtype]

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], arguments[0], arguments[1], vector)
        byte = ir.PointerType(ir.IntType(8))
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        hint = get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(hint, [builder.bitcast(address, byte), number(0), number(2), number(1)])
        return context.get_dummy_value()

    return types.none(array, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def splat(typing_context: Any, number: Any) -> Any:  # noqa: ARG001
    """A float32, float64 or int32 in all lanes."""
    vector = _OF_SCALAR[number]

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        nothing = ir.Constant(vector.llvm, ir.Undefined)
        first = builder.insert_element(nothing, arguments[0], _INDEX(0))
        return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES))

    return vector(number), code


def _convert(source: Any, target: Any, instruction: str, text: str) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def convert(typing_context: Any, value: Any) -> Any:  # noqa: ARG001
        if value != source:
            raise TypeError(f"{source} expected")

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            return getattr(builder, instruction)(arguments[0], target.llvm)

        return target(source), code

    convert.__doc__ = text
    return convert


widen = _convert(V, D, "fpext", "float32 as float64.")
bits = _convert(V, I, "bitcast", "The bits of float32 numbers as integers.")
from_bits = _convert(I, V, "bitcast", "The float32 numbers that have these bits.")
to_float = _convert(I, V, "sitofp", "Integers as float32.")
to_int = _convert(V, I, "fptosi", "The whole part of float32 numbers.")


@intrinsic  # type: ignore[untyped-decorator]
def narrow(typing_context: Any, value: Any) -> Any:  # noqa: ARG001
    """float64 as float32, rounded; float32 as it is."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return arguments[0] if value == V else builder.fptrunc(arguments[0], V.llvm)

    return V(value), code


def _compare(sign: str, text: str) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def compare(typing_context: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            build = builder.icmp_signed if a == I else builder.fcmp_ordered
            return builder.sext(build(sign, *arguments), I.llvm)

        return I(a, a), code

    compare.__doc__ = text
    return compare


above = _compare(">", "Mask: where a is above b.")
reaches = _compare(">=", "Mask: where a is b or above.")


@intrinsic  # type: ignore[untyped-decorator]
def choose(typing_context: Any, mask: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    """a where the mask is set, else b."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        zero = ir.Constant(I.llvm, None)
        return builder.select(builder.icmp_signed("!=", arguments[0], zero), arguments[1], arguments[2])

    return a(mask, a, a), code


@intrinsic  # type: ignore[untyped-decorator]
def some(typing_context: Any, mask: Any) -> Any:  # noqa: ARG001
    """Whether a mask is set in any lane."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        flags = builder.icmp_signed("!=", arguments[0], ir.Constant(I.llvm, None))
        whole = builder.bitcast(flags, ir.IntType(LANES))
        return builder.icmp_unsigned("!=", whole, ir.Constant(ir.IntType(LANES), 0))

    return types.boolean(mask), code


def _pick(sign: str, text: str) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def pick(typing_context: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            return builder.select(builder.fcmp_ordered(sign, *arguments), *arguments)

        return a(a, a), code

    pick.__doc__ = text
    return pick


larger = _pick(">", "The larger of two numbers in each lane; the second, if the first is NaN.")
smaller = _pick("<", "The smaller of two numbers in each lane; the second, if the first is NaN.")


def _function(name: str, text: str) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def call(typing_context: Any, value: Any) -> Any:  # noqa: ARG001
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            kind = ir.FunctionType(value.llvm, [value.llvm])
            whole = f"{name}.v{LANES}f{value.scalar.bitwidth}"
            return builder.call(get_or_insert_function(builder.module, kind, whole), arguments)

        return value(value), code

    call.__doc__ = text
    return call


root = _function("llvm.sqrt", "Square root.")
nearest = _function("llvm.rint", "The nearest whole number.")
magnitude = _function("llvm.fabs", "Absolute value.")


def _rows(context: Any, builder: Any, types_: tuple[Any, Any], values: tuple[Any, Any], time: Any) -> list[Any]:
    """Where each lane's row has some time: pointers to vectors of `LANES` samples; see `read_rows`."""
    rows_type, starts_type = types_
    rows, starts = values
    vector = _OF_SCALAR[rows_type.dtype]
    begin = context.make_array(starts_type)(context, builder, starts).data
    places = []
    for lane in range(LANES):
        start = builder.load(builder.gep(begin, [ir.IntType(64)(lane)]))
        places.append(_address(context, builder, rows_type, rows, builder.add(start, time), vector))
    return places


def _columns(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> list[Any]:
    """Pointers to `LANES` vectors that lie one after the other."""
    vector = _OF_SCALAR[array_type.dtype]
    places = [builder.add(index, ir.IntType(64)(sample * LANES)) for sample in range(LANES)]
    return [_address(context, builder, array_type, array, place, vector) for place in places]


def _copy_transposed(builder: Any, sources: list[Any], targets: list[Any], alignment: int) -> None:
    loaded = []
    for source in sources:
        value = builder.load(source)
        value.align = alignment
        loaded.append(value)
    for value, target in zip(_transposed(builder, loaded), targets, strict=True):
        builder.store(value, target).align = alignment


@intrinsic  # type: ignore[untyped-decorator]
def read_rows(typing_context: Any, rows: Any, starts: Any, time: Any, out: Any, index: Any) -> Any:  # noqa: ARG001
    """Bring `LANES` samples of each lane's row side by side.

    Args:
        rows: flat array, float32 or float64, that holds the rows of all lanes.
        starts: (LANES,) int64, index in `rows` of time 0 of each lane.
        time: of the first sample.
        out: flat array of the same type, receives `LANES` vectors, one for each sample.
        index: of the first element that is written.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sources = _rows(context, builder, signature.args[:2], arguments[:2], arguments[2])
        targets = _columns(context, builder, signature.args[3], *arguments[3:])
        _copy_transposed(builder, sources, targets, _alignment(_OF_SCALAR[rows.dtype]))
        return context.get_dummy_value()

    return types.none(rows, starts, types.intp, out, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def write_rows(typing_context: Any, rows: Any, starts: Any, time: Any, vectors: Any, index: Any) -> Any:  # noqa: ARG001
    """The way back: `LANES` vectors, from an index on, to each lane's row. Arguments as of `read_rows`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sources = _columns(context, builder, signature.args[3], *arguments[3:])
        targets = _rows(context, builder, signature.args[:2], arguments[:2], arguments[2])
        _copy_transposed(builder, sources, targets, _alignment(_OF_SCALAR[rows.dtype]))
        return context.get_dummy_value()

    return types.none(rows, starts, types.intp, vectors, types.intp), code


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Rows as columns: in each of log2(LANES) steps, pairs of vectors exchange blocks of 1, 2, 4, ... lanes."""
    block = 1
    while block < LANES:
        low = [lane if not lane & block else lane - block + LANES for lane in range(LANES)]
        high = [lane + block if not lane & block else lane + LANES for lane in range(LANES)]
        masks = [ir.Constant(ir.VectorType(_INDEX, LANES), lanes) for lanes in (low, high)]
        for first in range(LANES):
            if not first & block:
                pair = rows[first], rows[first + block]
                rows[first], rows[first + block] = (builder.shuffle_vector(*pair, mask) for mask in masks)
        block *= 2
    return rows
