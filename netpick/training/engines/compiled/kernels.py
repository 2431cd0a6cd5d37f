"""Whole training steps in machine code: what the engine runs, compiled by numba.

A small network's step is a dozen kernels of a few microseconds, each called from Python; here one call runs many
steps. All values lie in flat float32 arrays, a table of numbers says which layer takes what from where (`table`
writes it), and the functions below are one pass of one kind of layer each. The samples of a batch lie beside each
other, (values of a sample, batch): so the innermost loop of a convolution runs over a row of an image times the batch,
which is long and in one piece however small the image, and no output is computed that is not asked for.

On the CPU, without torch, in float32; convolutions also in bf16, where the processor adds up products of it in float32:
`conv_bf16` and `conv_back_bf16`, compiled for those who need them. Compiled once for each version of this file and of
the processor; `cache` says where the result lies. All in one file, since numba looks at no other to see whether what it
has kept is out of date.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LINEAR, CONV, ACTIVATION, PAD, NORM, ADD, SLOPE, LARGEST, MEAN, SAMPLE_NORM, DROPOUT = range(11)
"""Kinds of layers. PAD puts zeros around an image, for the CONV after it; NORM is batch norm, ADD ends a residual
block. SLOPE is PReLU; LARGEST and MEAN are poolings, and MEAN all other paddings; SAMPLE_NORM normalises each sample by
itself."""

KIND, INPUT, OUTPUT, INPUTS, OUTPUTS, WEIGHT, BIAS, FUNCTION, WANTED, OTHER = range(10)
"""Columns of the table of layers. INPUT and OUTPUT: where the values of a layer's input and output begin, in values of
a sample; of the network's input -1, and -1 - i from its value i on. INPUTS and OUTPUTS: how many there are; for CONV,
PAD, NORM, SLOPE and DROPOUT the channels; INPUTS of LARGEST and MEAN too, OUTPUTS the values of a channel; of
SAMPLE_NORM the groups, and the values of a group. WEIGHT and BIAS: where they begin in the flat parameters; -1 where
there is none. WANTED: whether the gradient of the input is; of ADD, of what is added. OTHER: of ADD, where what is
added begins; of NORM, where its statistics begin; of PAD, whether its gradient is added to what is there, or CONV has
written it there; of LARGEST and MEAN, where its links begin; of DROPOUT, where its mask does, in those of a sample."""

SHAPE, KERNEL, STRIDE, DILATION = 10, 13, 16, 19
"""First of three columns each, for depth, height and width. SHAPE is that of the input. Of PAD, KERNEL
is the padding, and STRIDE that of the convolution after it. Of NORM, SLOPE, LARGEST, MEAN and DROPOUT the last of SHAPE
are the values of a channel. Of SAMPLE_NORM SHAPE is how many values in a row have one weight, how many weights there
are, and what is multiplied: 1."""

KEPT = 22
"""Where begins, in values of a sample, what a layer keeps for its way back."""

INPUT_SLOPE, OUTPUT_SLOPE, OTHER_SLOPE = 23, 24, 25
"""Where the gradients of a layer's input, of its output and of what ADD adds begin, in values of a sample. They are in
the same place where one is the other, and those that nobody needs any more make room for others."""

AROUND = 26
"""First of three columns: of a CONV after a PAD the padding, whose gradient nobody wants."""

BF16 = 29
"""Of a CONV: whether its products are of numbers of 16 bits."""

COLUMNS = 30

RELU, TANH, SIGMOID, SELU, ELU, LEAKY_RELU, GELU, SILU = range(8)
CLAMP, SHRINK, SOFTPLUS, HARDSWISH, SOFTSIGN, MISH, TANHSHRINK, GELU_TANH = range(8, 16)
"""Functions; `activations` says which of them, with which numbers, an activation is."""

SGD, ADAM, ADAMW, RMSPROP = range(4)
"""Optimizers, in the order in which the face of the engine names them; so are the losses."""

NLL, MSE, L1, DISTANCE = range(4)

FAST = {"contract", "reassoc", "nsz", "arcp"}
"""Freedom for sums in another order, as every vectorised sum has it; infinities and NaN stay what they are."""


OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def jit(function: Any, fast: set[str] = FAST) -> Any:
    """Compile for those that call it from here."""
    return numba.njit(fastmath=fast, **OPTIONS)(function)


def entry(function: Any) -> Any:
    """Compile on the first call, or read what an earlier process compiled: for what netpick calls from Python."""
    try:
        return numba.njit(cache=True, fastmath=FAST, **OPTIONS)(function)
    except RuntimeError:  # no folder for the cache can be written: every process compiles for itself
        return numba.njit(fastmath=FAST, **OPTIONS)(function)


def part(function: Any) -> Any:
    """Make a function a part of those that call it: nothing is compiled for it alone."""
    return numba.njit(inline="always")(function)


@intrinsic
def _bits_to_float(context: Any, bits: Any) -> Any:
    """Take the 32 bits of an integer as a float."""
    del context

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


def _nearest(builder: Any, value: Any) -> Any:
    """Return the bits of a float32, moved so that the upper half is the nearest bf16, of two as near the even one."""
    number = ir.IntType(32)
    bits = builder.bitcast(value, number)
    odd = builder.and_(builder.lshr(bits, number(16)), number(1))
    moved = builder.add(bits, builder.add(odd, number(0x7FFF)))
    return builder.select(builder.fcmp_unordered("uno", value, value), builder.or_(bits, number(0x400000)), moved)


@intrinsic
def bf16_of(context: Any, value: Any) -> Any:
    """Return the bits of the bf16 that is nearest to a float32."""
    del context

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.trunc(builder.lshr(_nearest(builder, arguments[0]), ir.IntType(32)(16)), ir.IntType(16))

    return types.int16(types.float32), generate


@intrinsic
def pair_of(context: Any, first: Any, second: Any) -> Any:
    """Return the bits of the bf16 that are nearest to two float32, the second one's above those of the first."""
    del context

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        low, high = (_nearest(builder, value) for value in arguments)
        number = ir.IntType(32)
        return builder.or_(builder.lshr(low, number(16)), builder.and_(high, number(0xFFFF0000)))

    return types.int32(types.float32, types.float32), generate


_INTEGERS, _TABLE, _VALUES, _ROWS = types.int64[::1], types.int64[:, ::1], types.float32[::1], types.float32[:, ::1]
_WORDS = types.int32[::1]

FORWARD = (
    *(_TABLE, _ROWS, _INTEGERS, _VALUES, _ROWS, _VALUES, _VALUES, _INTEGERS, _INTEGERS, types.intp, types.intp),
    *(_VALUES, _VALUES, types.boolean, _WORDS, _INTEGERS),
)
BACKWARD = (
    *(_TABLE, _ROWS, _INTEGERS, _VALUES, _VALUES, _ROWS, _VALUES, _VALUES, _VALUES, _INTEGERS, _INTEGERS),
    *(_VALUES, _VALUES, types.boolean, _WORDS, _INTEGERS),
)
CONV_BF16 = (*(_INTEGERS, _VALUES, _VALUES, _VALUES, _VALUES, types.intp, _INTEGERS, _INTEGERS, _VALUES, _WORDS),)
CONV_BACK_BF16 = (
    *(_INTEGERS, _VALUES, _VALUES, _VALUES, _VALUES, _VALUES, types.intp, _INTEGERS, _INTEGERS, _VALUES, _WORDS),
)
"""Types of the arguments of `forward`, `backward`, `conv_bf16` and `conv_back_bf16`."""


def _caller(wanted: Any) -> Any:
    """Return what calls machine code that was compiled by itself, from its address, with a tuple of arguments."""

    @intrinsic
    def call(context: Any, address: Any, arguments: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            given = zip(cgutils.unpack_tuple(builder, values[1]), signature.args[1].types, wanted, strict=True)
            ready = [context.cast(builder, value, kind, other) for value, kind, other in given]
            one = ir.FunctionType(context.get_value_type(types.none), [context.get_value_type(kind) for kind in wanted])
            builder.call(builder.inttoptr(values[0], one.as_pointer()), ready)
            return context.get_dummy_value()

        del context
        return types.void(address, arguments), generate

    return call


go_forward, go_backward = _caller(FORWARD), _caller(BACKWARD)
go_conv_bf16, go_conv_back_bf16 = _caller(CONV_BF16), _caller(CONV_BACK_BF16)


VECTOR = 16 if binding.get_host_cpu_features().get("avx512f") else 8
"""Values of a register, or of two where they are smaller."""

WIDTHS = (1, 4, VECTOR, 2 * VECTOR, 4 * VECTOR)
"""Columns that `tile` computes at once."""

ROWS, FEW = 6, 6 if VECTOR == 16 else 3
"""Rows that it computes at most, and of the widest: with what is loaded for them their sums fill the registers: 6 × 4
of 32 with 512 bits, 3 × 4 or 6 × 2 of 16 with 256."""

DEEP = 512 * VECTOR
"""Values that `tile` takes at once where several blocks of rows have the same, so that they stay in the first cache."""

PAGES = 64
"""Taps that it takes at once where the weights of each lie in another page: as many as a processor finds at once."""

LEAST, CALL = 4 * VECTOR, 4000
"""Values of a row that `between_zeros` decides on at once, and the products that take as long as a call of `tile`."""

NEAR = 2**18
"""Values that are quickly copied, since they stay in the second cache; of more each takes as long as some products."""

UP, ACROSS = 6 if VECTOR == 16 else 4, VECTOR // 4
"""Rows and columns of sums that `dots` computes at once: 6 × 4 where there are 32 registers, else 4 × 2."""


_FLOAT = ir.FloatType()


def _pointer(builder: Any, begin: Any, at: Any, wide: int, element: Any = _FLOAT) -> Any:
    """Return where a vector begins, so many values after another."""
    return builder.bitcast(builder.gep(begin, [at]), ir.VectorType(element, wide).as_pointer())


def _spread(builder: Any, value: Any, wide: int) -> Any:
    """Return a vector that has one value everywhere."""
    one = builder.insert_element(ir.VectorType(value.type, wide)(ir.Undefined), value, ir.IntType(64)(0))
    return builder.shuffle_vector(one, one, ir.VectorType(ir.IntType(32), wide)([0] * wide))


def _add_product(builder: Any, total: Any, a: Any, b: Any) -> None:
    """Add a times b to what lies in memory, which the compiler makes a register; of pairs of bf16 both products."""
    if a.type.element != _FLOAT:
        builder.store(_add_pairs(builder, builder.load(total), a, b), total)
        return
    product = builder.fmul(a, b, flags=("contract",))
    builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)


def _add_pairs(builder: Any, total: Any, a: Any, b: Any) -> Any:
    """Return a total plus both products of each pair of bf16, in one instruction of AVX512-BF16."""
    wide = total.type.count
    lanes = max(wide, 4)  # there is none for fewer
    words, sums = ir.VectorType(ir.IntType(32), lanes), ir.VectorType(_FLOAT, lanes)
    if wide < lanes:
        every = words([0] * lanes)
        total, a, b = (builder.shuffle_vector(one, one, every) for one in (total, a, b))
    name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * lanes}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(sums, [sums, words, words]), name)
    result = builder.call(function, [total, builder.bitcast(a, words), builder.bitcast(b, words)])
    some = ir.VectorType(ir.IntType(32), wide)([*range(wide)])
    return result if wide == lanes else builder.shuffle_vector(result, result, some)


def _tile(builder: Any, rows: int, width: int, pointers: Any, numbers: Any, element: Any) -> None:
    """Write the code of `tile` for so many rows and columns."""
    y, source, taps, weight, offsets, begin = pointers
    apart, next_row, many, adds, last = numbers
    wide = min(width, VECTOR)
    number = ir.IntType(64)
    vectors = [number(v * wide) for v in range(width // wide)]
    if len(vectors) > 1:
        vectors[-1] = last

    def spread(pointer: Any) -> Any:
        return _spread(builder, builder.load(pointer), wide)

    def lines(row: int) -> list[Any]:
        into = builder.gep(y, [builder.mul(apart, number(row))])
        return [_pointer(builder, into, v, wide) for v in vectors]

    sums = [[cgutils.alloca_once(builder, ir.VectorType(ir.FloatType(), wide)) for _ in vectors] for _ in range(rows)]
    with builder.if_else(adds) as (then, otherwise):
        with then:
            for r, row in enumerate(sums):
                for total, place in zip(row, lines(r), strict=True):
                    builder.store(builder.load(place, align=4), total)
        with otherwise:
            for r, row in enumerate(sums):
                first = spread(builder.gep(begin, [number(r)]))
                for total in row:
                    builder.store(first, total)
    with cgutils.for_range(builder, many) as loop:
        read = builder.gep(source, [builder.load(builder.gep(taps, [loop.index]))])
        values = [builder.load(_pointer(builder, read, v, wide, element), align=4) for v in vectors]
        factor = builder.gep(weight, [builder.load(builder.gep(offsets, [loop.index]))])
        for r, row in enumerate(sums):
            one = spread(builder.gep(factor, [builder.mul(next_row, number(r))]))
            for total, value in zip(row, values, strict=True):
                _add_product(builder, total, one, value)
    for r, row in enumerate(sums):
        for total, place in zip(row, lines(r), strict=True):
            builder.store(builder.load(total), place, align=4)


def _cases(builder: Any, number: Any, cases: dict[int, Any]) -> None:
    """Write the code of several cases, of which the one with a number is executed."""
    end = builder.append_basic_block("end")
    choice = builder.switch(number, end)
    for case, write in cases.items():
        block = builder.append_basic_block(f"case{case}")
        choice.add_case(number.type(case), block)
        with builder.goto_block(block):
            write()
            builder.branch(end)
    builder.position_at_end(end)


def _place(context: Any, builder: Any, signature: Any, arguments: Any, position: int, *by: int) -> Any:
    """Return the pointer to an argument, which is an array, moved on by others."""
    data = context.make_array(signature.args[position])(context, builder, arguments[position]).data
    for one in by:
        data = builder.gep(data, [arguments[one]])
    return data


@intrinsic
def tile(
    context, y, to, apart, source, at, taps, weight, of, next_row, offsets, first, many, begin, adds, rows, width, last,
):  # fmt: skip
    """Write begin[r] + the sum of weight[of + r * next_row + offsets[t]] * source[at + taps[t] :] into y.

    Row r is written to y[to + r * apart :], the taps are the `many` from the first one. The sums of WIDTHS[width]
    columns and of `rows` rows, at most ROWS, stay in registers over all taps: each value is loaded once for all rows,
    and nothing but the result is written. If it `adds`, what is in y is taken in place of begin[r]. Of several
    registers the last one begins at `last`: it may have columns of the one before. Where weight and source are words,
    each is a pair of bf16, and a product the sum of two.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = functools.partial(_place, context, builder, signature, arguments)
        pointers = array(0, 1), array(3, 4), array(5, 10), array(6, 7), array(9, 10), array(12)
        rows, width = arguments[14:16]
        numbers = [arguments[at] for at in (2, 8, 11, 13, 16)]
        shapes = [(n, r) for n in range(len(WIDTHS)) for r in range(1, (ROWS if n + 1 < len(WIDTHS) else FEW) + 1)]
        number = builder.add(builder.mul(width, width.type(ROWS)), rows)
        element = context.get_data_type(signature.args[3].dtype)
        cases = {
            n * ROWS + r: functools.partial(_tile, builder, r, WIDTHS[n], pointers, numbers, element) for n, r in shapes
        }
        _cases(builder, number, cases)
        return context.get_dummy_value()

    del context
    n = types.intp
    return types.void(y, n, n, source, n, taps, weight, n, n, offsets, n, n, begin, types.boolean, n, n, n), generate


def _dots(builder: Any, rows: int, columns: int, pointers: Any, steps: Any, size: Any, element: Any) -> None:
    """Write the code of `dots` for so many rows and columns of sums."""
    into, values, source, taps = pointers
    next_row, apart, runs, down, along = steps
    number, zero, floats = ir.IntType(64), ir.VectorType(_FLOAT, VECTOR)(None), element == _FLOAT
    wide, align = (VECTOR, 4) if floats else (2 * VECTOR, 2)
    totals = [[cgutils.alloca_once_value(builder, zero) for _ in range(columns)] for _ in range(rows)]
    places = [builder.load(builder.gep(taps, [number(c)])) for c in range(columns)]
    rest = builder.srem(size, number(VECTOR))
    counted = _spread(builder, builder.sub(number(VECTOR), rest), VECTOR)
    new = builder.icmp_signed(">=", ir.VectorType(number, VECTOR)([*range(VECTOR)]), counted)

    with cgutils.for_range(builder, runs) as run:
        left = builder.gep(values, [builder.mul(run.index, down)])
        right = builder.gep(source, [builder.mul(run.index, along)])
        lefts = [builder.gep(left, [builder.mul(apart, number(r))]) for r in range(rows)]
        rights = [builder.gep(right, [place]) for place in places]

        def add(at: Any, mask: Any = None) -> None:
            a = [builder.load(_pointer(builder, one, at, wide, element), align=align) for one in lefts]
            a = a if mask is None else [builder.select(mask, one, zero) for one in a]
            for c, one in enumerate(rights):
                b = builder.load(_pointer(builder, one, at, wide, element), align=align)
                for r in range(rows):
                    _add_product(builder, totals[r][c], a[r], b)

        with cgutils.for_range(builder, builder.sdiv(size, number(wide))) as loop:
            add(builder.mul(loop.index, number(wide)))
        if floats:
            with builder.if_then(builder.icmp_signed(">", rest, number(0))):
                add(builder.sub(size, number(VECTOR)), new)

    # In each round two vectors become one, which has the sums of the one in half of its lanes, those of the other in
    # the rest: in the end there is one sum a lane.
    together = VECTOR // ACROSS
    for start in range(0, rows, together):
        lines = [zero] * VECTOR
        some = range(start, min(rows, start + together))
        for r in some:
            for c, total in enumerate(totals[r]):
                lines[(r - start) * ACROSS + c] = builder.load(total)
        step = 1
        while step < VECTOR:
            first, second = _exchanged(step)
            pairs = zip(lines[::2], lines[1::2], strict=True)
            lines = [
                builder.fadd(builder.shuffle_vector(*pair, first), builder.shuffle_vector(*pair, second))
                for pair in pairs
            ]
            step *= 2
        for r in some:
            place = _pointer(builder, builder.gep(into, [builder.mul(next_row, number(r))]), number(0), columns)
            mine = ir.VectorType(ir.IntType(32), columns)([(r - start) * ACROSS + c for c in range(columns)])
            total = builder.shuffle_vector(lines[0], lines[0], mine)
            builder.store(builder.fadd(builder.load(place, align=4), total), place, align=4)


def _exchanged(step: int) -> tuple[Any, Any]:
    """Return the lanes of two vectors that change places where they are so far apart."""
    mask = ir.VectorType(ir.IntType(32), VECTOR)
    first = mask([lane if not lane & step else VECTOR + lane - step for lane in range(VECTOR)])
    return first, mask([lane + step if not lane & step else VECTOR + lane for lane in range(VECTOR)])


@intrinsic
def dots(context, y, to, next_row, values, of, apart, source, at, taps, first, runs, down, along, size, rows, columns):
    """Add the sums of values[of + r * apart + i] * source[at + taps[first + c] + i] to y[to + r * next_row + c].

    Of `rows` rows r, at most UP, and of `columns` taps c, at most ACROSS, over all i below `size`, which is at least
    VECTOR; all that for so many runs, each of them further down in the values and further along in the source. Where
    both are bf16, `size` is a multiple of two registers' values.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = functools.partial(_place, context, builder, signature, arguments)
        pointers = array(0, 1), array(3, 4), array(6, 7), array(8, 9)
        steps = tuple(arguments[at] for at in (2, 5, 10, 11, 12))
        number = builder.add(builder.mul(arguments[14], arguments[14].type(ACROSS)), arguments[15])
        element = context.get_data_type(signature.args[3].dtype)
        cases = {
            r * ACROSS + c: functools.partial(_dots, builder, r, c, pointers, steps, arguments[13], element)
            for r in range(1, UP + 1)
            for c in range(1, ACROSS + 1)
        }
        _cases(builder, number, cases)
        return context.get_dummy_value()

    del context
    n = types.intp
    return types.void(y, n, n, values, n, n, source, n, taps, n, n, n, n, n, n, n), generate


@intrinsic
def turn(context: Any, rows: Any, columns: Any, apart: Any, wide: Any) -> Any:
    """Write VECTOR values of VECTOR rows into as many columns; apart: from row to row; wide: from column to column.

    In registers: in each round lanes that are 1, 2, 4, ... apart change places with those of a row as far away.
    """
    del context
    kind = ir.VectorType(ir.FloatType(), VECTOR)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, into = (context.make_array(signature.args[at])(context, builder, arguments[at]).data for at in range(2))

        def line(pointer: Any, number: int, step: Any) -> Any:
            return builder.bitcast(builder.gep(pointer, [builder.mul(step, step.type(number))]), kind.as_pointer())

        lines = [builder.load(line(source, i, arguments[2]), align=4) for i in range(VECTOR)]
        step = 1
        while step < VECTOR:
            first, second = _exchanged(step)
            for i in (i for i in range(VECTOR) if not i & step):
                pair = lines[i], lines[i + step]
                lines[i], lines[i + step] = (builder.shuffle_vector(*pair, lanes) for lanes in (first, second))
            step *= 2
        for j, values in enumerate(lines):
            builder.store(values, line(into, j, arguments[3]), align=4)
        return context.get_dummy_value()

    return types.void(rows, columns, types.intp, types.intp), generate


@intrinsic
def move(context: Any, out: Any, to: Any, source: Any, at: Any) -> Any:
    """Write the VECTOR values from source[at] on into `out`, from `to` on."""
    del context

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        into, read = (_place(context, builder, signature, arguments, first, first + 1) for first in (0, 2))
        zero = ir.IntType(64)(0)
        values = builder.load(_pointer(builder, read, zero, VECTOR), align=4)
        builder.store(values, _pointer(builder, into, zero, VECTOR), align=4)
        return context.get_dummy_value()

    return types.void(out, types.intp, source, types.intp), generate


ZERO, HALF, ONE, TWO, THREE, FOUR = (np.float32(value) for value in (0, 0.5, 1, 2, 3, 4))
_LOG2E, _LN2_HIGH, _LN2_LOW = np.float32(1.44269504088896341), np.float32(0.693359375), np.float32(-2.12194440e-4)
_E = [np.float32(c) for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)]
_E0, _E1, _E2, _E3, _E4, _E5 = _E
_LOW, _HIGH = np.float32(-87.3), np.float32(88.3)


@jit
def exp(x):
    """e^x without a branch, so that it becomes vectors: the float32 polynomial of the Cephes library, within 2 ulp."""
    bounded = x if not x < _LOW else _LOW  # written so that NaN stays NaN
    bounded = bounded if not bounded > _HIGH else _HIGH
    k = np.float32(math.floor(bounded * _LOG2E + HALF))
    r = bounded - k * _LN2_HIGH - k * _LN2_LOW
    p = ((((_E0 * r + _E1) * r + _E2) * r + _E3) * r + _E4) * r + _E5
    return (p * r * r + r + ONE) * _bits_to_float(np.int32((np.int32(k) + np.int32(127)) << np.int32(23)))


_ALPHA, _SCALE = np.float32(1.6732632423543772848170429916717), np.float32(1.0507009873554804934193349852946)
_ROOT_HALF, _ROOT_2PI = np.float32(math.sqrt(0.5)), np.float32(1 / math.sqrt(2 * math.pi))
_P, _A1, _A2, _A3, _A4, _A5 = (
    np.float32(c) for c in (0.3275911, 0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
)


@jit
def normal_cdf(x):
    """The normal distribution's share below x, within 1e-7 (Abramowitz and Stegun 1964, formula 7.1.26)."""
    a = abs(x) * _ROOT_HALF
    t = ONE / (ONE + _P * a)
    tail = HALF * ((((_A5 * t + _A4) * t + _A3) * t + _A2) * t + _A1) * t * exp(-a * a)
    return ONE - tail if x >= ZERO else tail


_MOST = np.float32(7.90531110763549805)
_T = [np.float32(c) for c in (
    -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05,
    6.37261928875436e-04, 4.89352455891786e-03, 1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03,
    4.89352518554385e-03,
)]  # fmt: skip
_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7, _T8, _T9, _T10 = _T


@jit
def tanh(x):
    """The hyperbolic tangent within 4e-7 of itself: the quotient of polynomials of the Eigen library."""
    bounded = x if not x < -_MOST else -_MOST  # written so that NaN stays NaN
    bounded = bounded if not bounded > _MOST else _MOST
    s = bounded * bounded
    p = (((((_T0 * s + _T1) * s + _T2) * s + _T3) * s + _T4) * s + _T5) * s + _T6
    return bounded * p / (((_T7 * s + _T8) * s + _T9) * s + _T10)


@jit
def sigmoid(x):
    """The share of the logistic distribution below x."""
    return ONE / (ONE + exp(-x))


_THIRDS = [np.float32(1 / odd) for odd in range(3, 17, 2)]
_S0, _S1, _S2, _S3, _S4, _S5, _S6 = _THIRDS


@jit
def softplus(x):
    """The logarithm of 1 + e^x: of 1 + e^-|x| by the series of the area tangent, exact relative to itself."""
    e = exp(-abs(x))
    s = e / (TWO + e)
    q = s * s
    series = ((((((_S6 * q + _S5) * q + _S4) * q + _S3) * q + _S2) * q + _S1) * q + _S0) * q + ONE
    return (x if not x < ZERO else ZERO) + TWO * s * series


_ENOUGH = np.float32(20)


@jit
def mish(x, back):
    """Return x times the tanh of its softplus, or the slope of that: all of it from one power of e."""
    e = exp(x if not x > _ENOUGH else _ENOUGH)
    w = e * (e + TWO)
    t = w / (w + TWO)
    if not back:
        return x * t
    return t + x * (e / (ONE + e)) * (FOUR * (w + ONE) / ((w + TWO) * (w + TWO)))


_BEND, _CUBE = np.float32(2 * math.sqrt(2 / math.pi)), np.float32(0.044715)
_SIXTH, _THIRD = np.float32(1 / 6), np.float32(1 / 3)


@jit
def activate(function, numbers, x, y):
    """Write an activation of x into y, they may be the same; numbers (4,): of the function, as `activations` says."""
    n = len(x)
    a, b, c, d = numbers[0], numbers[1], numbers[2], numbers[3]
    if function == RELU:
        for i in range(n):
            y[i] = x[i] if not x[i] < ZERO else ZERO
    elif function == TANH:
        for i in range(n):
            y[i] = tanh(x[i])
    elif function == SIGMOID:
        for i in range(n):
            y[i] = ONE / (ONE + exp(-x[i]))
    elif function == SELU:
        for i in range(n):
            y[i] = _SCALE * (x[i] if not x[i] < ZERO else _ALPHA * (exp(x[i]) - ONE))
    elif function == ELU:
        for i in range(n):
            y[i] = x[i] if not x[i] < ZERO else a * (exp(b * x[i]) - ONE)
    elif function == LEAKY_RELU:
        for i in range(n):
            y[i] = x[i] if not x[i] < ZERO else a * x[i]
    elif function == GELU:
        for i in range(n):
            y[i] = x[i] * normal_cdf(x[i])
    elif function == SILU:
        for i in range(n):
            y[i] = x[i] / (ONE + exp(-x[i]))
    elif function == CLAMP:
        for i in range(n):
            z = c * x[i] + d
            y[i] = a if z < a else b if z > b else z
    elif function == SHRINK:
        for i in range(n):
            away = x[i] - b if x[i] > ZERO else x[i] + b
            y[i] = ZERO if x[i] >= -a and x[i] <= a else away
    elif function == SOFTPLUS:
        for i in range(n):
            z = a * x[i]
            y[i] = x[i] if z > b else softplus(z) * c
    elif function == HARDSWISH:
        for i in range(n):
            z = x[i] * _SIXTH + HALF
            y[i] = x[i] * (ZERO if z < ZERO else ONE if z > ONE else z)
    elif function == SOFTSIGN:
        for i in range(n):
            y[i] = x[i] / (ONE + abs(x[i]))
    elif function == MISH:
        for i in range(n):
            y[i] = mish(x[i], False)
    elif function == TANHSHRINK:
        for i in range(n):
            y[i] = x[i] - tanh(x[i])
    else:
        for i in range(n):
            y[i] = x[i] * sigmoid(_BEND * (x[i] + _CUBE * x[i] * x[i] * x[i]))


@jit
def activate_back(function, numbers, x, y, dy, dx):
    """Write the gradient of an activation's input x, of which y is the output, into dx; dx and dy may be the same."""
    n = len(x)
    a, b, c, d = numbers[0], numbers[1], numbers[2], numbers[3]
    if function == RELU:
        for i in range(n):
            dx[i] = dy[i] if y[i] > ZERO else ZERO
    elif function == TANH:
        for i in range(n):
            dx[i] = dy[i] * (ONE - y[i] * y[i])
    elif function == SIGMOID:
        for i in range(n):
            dx[i] = dy[i] * (ONE - y[i]) * y[i]
    elif function == SELU:
        for i in range(n):
            dx[i] = dy[i] * (_SCALE if y[i] > ZERO else y[i] + _ALPHA * _SCALE)
    elif function == ELU:
        for i in range(n):
            dx[i] = dy[i] * (ONE if x[i] > ZERO else b * (y[i] + a))
    elif function == LEAKY_RELU:
        for i in range(n):
            dx[i] = dy[i] if x[i] > ZERO else a * dy[i]
    elif function == GELU:
        for i in range(n):
            dx[i] = dy[i] * (normal_cdf(x[i]) + x[i] * _ROOT_2PI * exp(-HALF * x[i] * x[i]))
    elif function == SILU:
        for i in range(n):
            s = ONE / (ONE + exp(-x[i]))
            dx[i] = dy[i] * s * (ONE + x[i] * (ONE - s))
    elif function == CLAMP:
        for i in range(n):
            z = c * x[i] + d
            dx[i] = c * dy[i] if z > a and z < b else ZERO
    elif function == SHRINK:
        for i in range(n):
            dx[i] = ZERO if x[i] >= -a and x[i] <= a else dy[i]
    elif function == SOFTPLUS:
        for i in range(n):
            z = a * x[i]
            dx[i] = dy[i] if z > b else a * c * dy[i] * sigmoid(z)
    elif function == HARDSWISH:
        for i in range(n):
            slope = x[i] * _THIRD + HALF
            dx[i] = dy[i] * (ZERO if x[i] <= -THREE else ONE if x[i] >= THREE else slope)
    elif function == SOFTSIGN:
        for i in range(n):
            s = ONE / (ONE + abs(x[i]))
            dx[i] = dy[i] * s * s
    elif function == MISH:
        for i in range(n):
            dx[i] = dy[i] * mish(x[i], True)
    elif function == TANHSHRINK:
        for i in range(n):
            t = tanh(x[i])
            dx[i] = dy[i] * t * t
    else:
        for i in range(n):
            square = _CUBE * x[i] * x[i]
            s = sigmoid(_BEND * x[i] * (ONE + square))
            dx[i] = dy[i] * s * (ONE + x[i] * (ONE - s) * _BEND * (ONE + THREE * square))


TILE, TILE_BF16 = 1024, 2048
"""Values that are worked on at a time: with those they are multiplied with they stay in the first cache."""


@jit
def copy(source, out):
    """Write the values of `source` into `out`: an assignment of slices would bring numpy's message about shapes."""
    for i in range(len(out)):
        out[i] = source[i]


@jit
def copy_few(source, at, out, to, n):
    """Write the n values from source[at] on into `out`, from `to` on: as many as a batch has, hundreds at most."""
    if n < VECTOR:
        for i in range(n):
            out[to + i] = source[at + i]
        return
    for i in range(0, n - VECTOR, VECTOR):
        move(out, to + i, source, at + i)
    move(out, to + n - VECTOR, source, at + n - VECTOR)  # of these some are written a second time


@jit
def clear(values):
    """Write zeros."""
    for i in range(len(values)):
        values[i] = ZERO


@jit
def activate_there(function, numbers, x):
    """Write an activation of x in its place.

    Through a copy of a few at a time: of two arrays that may overlap the compiler takes one value after another.
    """
    some = np.empty(TILE, np.float32)
    for start in range(0, len(x), TILE):
        part = x[start : start + TILE]
        before = some[: len(part)]
        copy(part, before)
        activate(function, numbers, before, part)


@jit
def activate_back_there(function, numbers, y, dy):
    """Write the gradient of the input of `activate_there` in the place of that of its output."""
    some = np.empty(TILE, np.float32)
    for start in range(0, len(y), TILE):
        made, part = y[start : start + TILE], dy[start : start + TILE]
        before = some[: len(part)]
        copy(part, before)
        activate_back(function, numbers, made, made, before, part)


@jit
def add_bias(bias, y):
    """Add the bias of each row to its values; `bias` may be empty."""
    for j in range(len(bias)):
        b = bias[j]
        row = y[j]
        for i in range(len(row)):
            row[i] += b


@jit
def sum_rows(rows, sums):
    """Add the sum of each row to `sums`."""
    for j in range(len(sums)):
        row = rows[j]
        total = ZERO
        for i in range(len(row)):
            total += row[i]
        sums[j] += total


@jit
def weigh_taps(y, to, apart, source, at, taps, weight, next_row, offsets, first, many, begin, n):
    """Write begin[o] + the sum of weight[o * next_row + offsets[t]] * source[at + taps[t] :][:n] over the taps.

    Of all outputs o, each into y[to + o * apart :]; of the `many` taps from the first one. Where the last columns don't
    fill the narrowest tile, some before them are computed a second time.
    """
    outputs = len(begin)
    blocks = (outputs + ROWS - 1) // ROWS
    most = (outputs + blocks - 1) // blocks
    width = widest(n, n, outputs)
    deep, top = many, DEEP // WIDTHS[width] if next_row > 1 else PAGES
    if outputs > most and many > top:
        parts = (many + top - 1) // top
        deep = (many + parts - 1) // parts
    start = 0  # all loops are written so that nothing is divided to find how often they go round
    while start < n:
        width = widest(n - start, n, outputs)
        wide = min(n, WIDTHS[width])
        i, last = min(start, n - wide), wide - VECTOR
        t = 0
        while True:
            o = 0
            while o < outputs:
                tile(
                    *(y, to + o * apart + i, apart, source, at + i, taps, weight, o * next_row, next_row),
                    *(offsets, first + t, min(deep, many - t), begin[o:], t > 0, min(most, outputs - o), width, last),
                )
                o += most
            t += deep
            if t >= many:
                break
        start += wide


@jit
def widest(left, n, outputs):
    """Return which of WIDTHS `tile` takes for the first of so many columns that are left of n."""
    if n < VECTOR:
        return 1 if n >= 4 else 0
    if left <= VECTOR:
        return 2
    if left <= 3 * VECTOR or n < 4 * VECTOR or (outputs > FEW and FEW < ROWS):
        return 3
    return 4


@jit
def dot_taps(into, values, of, apart, rows, source, at, taps, runs, down, along, size):
    """Add the sums of values[of + r * apart + i] * source[at + tap + i], i below `size`, to into[r, t].

    Of all rows r and taps t; runs, down and along as for `dots`.
    """
    many = len(taps)
    if size < VECTOR:
        for r in range(rows):
            for t in range(many):
                total = ZERO
                for run in range(runs):
                    a, b = of + r * apart + run * down, at + taps[t] + run * along
                    for i in range(size):
                        total += values[a + i] * source[b + i]
                into[r * many + t] += total
        return
    dot_blocks(into, values, of, apart, rows, source, at, taps, runs, down, along, size)


@jit
def dot_blocks(into, values, of, apart, rows, source, at, taps, runs, down, along, size):
    """Do what `dot_taps` does, of as many values as `dots` takes."""
    many = len(taps)
    for r in range(0, rows, UP):
        up = min(UP, rows - r)
        for t in range(0, many, ACROSS):
            dots(
                *(into, r * many + t, many, values, of + r * apart, apart, source, at, taps, t, runs, down, along),
                *(size, up, min(ACROSS, many - t)),
            )


@jit
def steps(by, many, out):
    """Write 0, by, 2 by, ... into the first of `out`, and return them."""
    for i in range(many):
        out[i] = i * by
    return out[:many]


@jit
def linear(row, rows, x, weight, bias, y, n, taps, offsets):
    """Write weight (out, in) times the samples, plus bias unless it is empty, into y (out, n).

    Of the first layer the samples are rows (n, in), of others x (in, n).
    """
    inputs, outputs, none, one = row[INPUTS], row[OUTPUTS], np.intp(0), np.intp(1)
    begin = bias if len(bias) else np.zeros(outputs, np.float32)
    if row[INPUT] >= 0:
        places, columns = steps(n, inputs, taps), steps(one, inputs, offsets)
        weigh_taps(y, none, n, x, none, places, weight, inputs, columns, none, inputs, begin, n)
        return
    for j in range(outputs):
        for i in range(n):
            y[j * n + i] = begin[j]
    images, samples = rows.reshape(n * inputs), steps(inputs, n, taps)
    dot_taps(y, weight, none, inputs, outputs, images, none, samples, one, none, none, inputs)


FEW_OUTPUTS = 16
"""Of a linear layer: turning its samples would take longer than what is done with them."""


@jit
def linear_back_weight(row, rows, x, dy, d_weight, d_bias, n, taps, offsets, product, room, adds):
    """Write the gradient of a linear layer's weights, or add it if `adds`, and add that of its bias.

    The samples lie one after another, (n, in), or are turned into `room`, unless there are few outputs.
    """
    inputs, outputs, none, one = row[INPUTS], row[OUTPUTS], np.intp(0), np.intp(1)
    if row[INPUT] >= 0 and outputs <= FEW_OUTPUTS and n >= 2 * VECTOR:
        dot_taps(d_weight, dy, none, n, outputs, x, none, steps(n, inputs, taps), one, none, none, n)
    else:
        samples = rows.reshape(n * inputs) if row[INPUT] < 0 else room[: n * inputs]
        if row[INPUT] >= 0:
            transpose(x[: inputs * n].reshape((inputs, n)), samples.reshape((n, inputs)))
        into = product[: outputs * inputs] if adds else d_weight
        places, columns, begin = steps(inputs, n, taps), steps(one, n, offsets), np.zeros(outputs, np.float32)
        weigh_taps(into, none, inputs, samples, none, places, dy, n, columns, none, n, begin, inputs)
        if adds:
            for i in range(outputs * inputs):
                d_weight[i] += product[i]
    if len(d_bias):
        sum_rows(dy[: outputs * n].reshape((outputs, n)), d_bias)


@jit
def linear_back_input(row, weight, dy, dx, n, taps, offsets):
    """Write the gradient of a linear layer's input (in, n) into dx."""
    inputs, outputs, none, one = row[INPUTS], row[OUTPUTS], np.intp(0), np.intp(1)
    places, columns, begin = steps(n, outputs, taps), steps(inputs, outputs, offsets), np.zeros(inputs, np.float32)
    weigh_taps(dx, none, n, dy, none, places, weight, one, columns, none, outputs, begin, n)


@jit
def repeat_taps(taps, offsets, many, channels, plane, kernel):
    """Write the taps of one channel for the others too, which lie so far apart; return how many there are then."""
    for c in range(1, channels):
        for t in range(many):
            taps[c * many + t], offsets[c * many + t] = taps[t] + c * plane, offsets[t] + c * kernel
    return many * channels


@jit
def find_taps(row, n, taps, offsets):
    """Write where each weight of an output channel reads, from its first: (channels, kd, kh, kw) in order.

    In images as `in_strides` returns them.
    """
    depth, height, stride = row[SHAPE], row[SHAPE + 1], row[STRIDE + 2]
    each = (row[SHAPE + 2] + stride - 1) // stride
    width = each * stride
    t = 0
    for d in range(row[KERNEL]):
        for h in range(row[KERNEL + 1]):
            for w in range(row[KERNEL + 2]):
                z, y, x = d * row[DILATION], h * row[DILATION + 1], w * row[DILATION + 2]
                taps[t], offsets[t] = ((z * height + y) * width + x % stride * each + x // stride) * n, t
                t += 1
    return taps[: repeat_taps(taps, offsets, t, row[INPUTS], depth * height * width * n, t)]


@jit
def places(row, axis):
    """Return how many outputs a convolution has along an axis."""
    wide = row[DILATION + axis] * (row[KERNEL + axis] - 1) + 1
    return (row[SHAPE + axis] - wide) // row[STRIDE + axis] + 1


@jit
def split_line(x, at, size, left, stride, phases, each, out, to, n):
    """Write `size` columns from x[at] on, the first of them as number `left`, those a stride apart side by side.

    First those of the first place in a stride, filled up with zeros to be `each`, then those of the next one.
    """
    for phase in range(phases):
        first, end = max(0, left - phase + stride - 1) // stride, (left + size - phase + stride - 1) // stride
        place = to + phase * each * n
        clear(out[place : place + first * n])
        for i in range(first, end):
            copy_few(x, at + (i * stride + phase - left) * n, out, place + i * n, n)
        clear(out[place + end * n : place + each * n])


@jit
def in_strides(row, x, n, room):
    """Return images (channels, depth, height, width, batch) as a convolution with a stride wants them, and their width.

    Columns that are a stride apart lie side by side, so that neighbours in the output are neighbours in the input too:
    `pad` has written them so, or they are written so into `room`.
    """
    width, stride = row[SHAPE + 2], row[STRIDE + 2]
    each = (width + stride - 1) // stride
    if stride == 1 or row[AROUND] + row[AROUND + 1] + row[AROUND + 2] > 0:
        return x, each * stride
    high, wide = row[DILATION + 1] * (row[KERNEL + 1] - 1), row[DILATION + 2] * (row[KERNEL + 2] - 1)
    for number in range(row[INPUTS] * row[SHAPE] * row[SHAPE + 1]):
        if number % row[SHAPE + 1] % row[STRIDE + 1] <= high:  # of the others, as of some columns, no output is made
            phases, to = min(stride, wide + 1), number * each * stride * n
            split_line(x, number * width * n, width, np.intp(0), stride, phases, each, room, to, n)
    return room, each * stride


@jit
def conv(row, x, weight, bias, y, n, taps, offsets, room):
    """Write the convolution of x (channels, depth, height, width, batch) into y; row: the layer's, of the table."""
    many = len(find_taps(row, n, taps, offsets))
    source, width = in_strides(row, x, n, room)
    convolve(row, source, width, weight, many, bias, y, n, taps, offsets, many)


@jit
def convolve(row, source, width, weight, next_row, bias, y, n, taps, offsets, many):
    """Write what is asked of `conv` from images of such a width, as `in_strides` returns them, and so many taps."""
    none = np.intp(0)
    depths, heights, span = places(row, 0), places(row, 1), places(row, 2) * n
    begin = bias if len(bias) else np.zeros(row[OUTPUTS], np.float32)
    plane = depths * heights * span
    for d in range(depths):
        for h in range(heights):
            at = (d * row[STRIDE] * row[SHAPE + 1] + h * row[STRIDE + 1]) * width * n
            to = (d * heights + h) * span
            weigh_taps(y, to, plane, source, at, taps, weight, next_row, offsets, none, many, begin, span)


@jit
def pair_rows(values, rows, size, words):
    """Write rows of so many values as half as many rows of pairs: of one of an even number and the next one, or 0."""
    for r in range(0, rows, 2):
        out, first = words[r // 2 * size : (r // 2 + 1) * size], values[r * size : (r + 1) * size]
        if r + 1 < rows:
            second = values[(r + 1) * size : (r + 2) * size]
            for i in range(size):
                out[i] = pair_of(first[i], second[i])
        else:
            for i in range(size):
                out[i] = pair_of(first[i], ZERO)


@jit
def round_lines(values, lines, size, wide, out):
    """Write so many lines of `size` values as bf16, each filled up with zeros to be as wide."""
    for number in range(lines):
        line, first = out[number * wide : (number + 1) * wide], values[number * size : (number + 1) * size]
        for i in range(size):
            line[i] = bf16_of(first[i])
        for i in range(size, wide):
            line[i] = 0


@jit
def whole_in_strides(row, x, n, room):
    """Do what `in_strides` does; what that leaves out is 0, for that it may be multiplied with 0."""
    if row[STRIDE + 2] > 1 and row[AROUND] + row[AROUND + 1] + row[AROUND + 2] == 0:
        lines = row[INPUTS] * row[SHAPE] * row[SHAPE + 1]
        clear(room[: lines * ((row[SHAPE + 2] + row[STRIDE + 2] - 1) // row[STRIDE + 2] * row[STRIDE + 2]) * n])
    return in_strides(row, x, n, room)


@jit
def pair_channels(row, source, size, weight, n, taps, offsets, factors, images):
    """Write the pairs of two channels each, of the images and of the weights; return how many taps there are then."""
    inputs, kernel = row[INPUTS], row[KERNEL] * row[KERNEL + 1] * row[KERNEL + 2]
    rest = len(weight) - kernel
    for i in range(rest):  # half of them are never read: a loop for each channel would take longer
        factors[i] = pair_of(weight[i], weight[i + kernel])
    for i in range(rest, len(weight)):
        factors[i] = pair_of(weight[i], ZERO)
    pair_rows(source, inputs, size // inputs, images)
    paired = row.copy()
    paired[INPUTS] = (inputs + 1) // 2
    many = len(find_taps(paired, n, taps, offsets))
    for t in range(many):
        offsets[t] += t // kernel * kernel
    return many


@jit
def pair_lines(row, source, size, width, weight, n, taps, offsets, factors, images):
    """Do the same for one channel: each value is paired with the one that the next line of the kernel reads.

    Where a kernel is one line high, with what its next column reads.
    """
    line, lines, apart = row[KERNEL + 2], row[KERNEL + 1], row[DILATION + 1] * width * n
    if lines == 1:
        line, lines, apart = np.intp(1), line, row[DILATION + 2] * n
    for i in range(size - apart):
        images[i] = pair_of(source[i], source[i + apart])
    for i in range(size - apart, size):
        images[i] = pair_of(source[i], ZERO)
    for i in range(len(weight)):
        factors[i] = pair_of(weight[i], weight[i + line] if i // line % lines < lines - 1 else ZERO)
    many = 0
    for t in range(len(find_taps(row, n, taps, offsets))):
        if t // line % lines % 2 == 0:
            taps[many], offsets[many] = taps[t], offsets[t]
            many += 1
    return many


@entry
def conv_bf16(row, x, weight, bias, y, n, taps, offsets, room, words):
    """Do what `conv` does with products of bf16, which are added up in float32, two at a time.

    words: room for pairs of weights and of the input's values.
    """
    source, width = whole_in_strides(row, x, n, room)
    size = row[INPUTS] * row[SHAPE] * row[SHAPE + 1] * width * n
    factors, images = words[: len(weight)], words[len(weight) :]
    if row[INPUTS] > 1:
        many = pair_channels(row, source, size, weight, n, taps, offsets, factors, images)
    else:
        many = pair_lines(row, source, size, width, weight, n, taps, offsets, factors, images)
    convolve(row, images, width, factors, len(weight) // row[OUTPUTS], bias, y, n, taps, offsets, many)


@entry
def conv_back_bf16(row, x, weight, dy, dx, d_weight, n, taps, offsets, room, words):
    """Add the gradient of a convolution's weights, and write that of its input if it is wanted, as `conv_bf16` does."""
    conv_back_weight_bf16(row, x, dy, d_weight, n, taps, offsets, room, words.view(np.int16))
    if row[WANTED]:
        outputs = row[OUTPUTS]
        paired = row.copy()
        paired[OUTPUTS] = (outputs + 1) // 2
        many, size = len(weight) // outputs * paired[OUTPUTS], places(row, 0) * places(row, 1) * places(row, 2) * n
        turned, factors, slopes = words[:many], words[many : 2 * many], words[2 * many :]
        pair_rows(weight, outputs, many // paired[OUTPUTS], factors)
        turn_weights(paired, factors, turned)
        pair_rows(dy, outputs, size, slopes)
        conv_back_input(paired, turned, slopes, dx, n, taps, offsets, slopes[paired[OUTPUTS] * size :], room)


@jit
def conv_back_weight_bf16(row, x, dy, d_weight, n, taps, offsets, room, halves):
    """Add the gradient of a convolution's weights, summed up from products of bf16.

    halves: room for the input and for dy, whose lines are filled up to whole registers.
    """
    taps = find_taps(row, n, taps, offsets)
    outputs, wide, one = row[OUTPUTS], 2 * VECTOR, np.intp(1)
    depths, heights, span = places(row, 0), places(row, 1), places(row, 2) * n
    source, width = whole_in_strides(row, x, n, room)
    size, filled = row[INPUTS] * row[SHAPE] * row[SHAPE + 1] * width * n, (span + wide - 1) // wide * wide
    slopes = halves[size + wide :]
    round_lines(source, one, size, size + wide, halves)
    round_lines(dy, outputs * depths * heights, span, filled, slopes)
    plane, along = depths * heights * filled, row[STRIDE + 1] * width * n
    pieces = max(1, (filled + TILE_BF16 - 1) // TILE_BF16)
    together = max(1, TILE_BF16 // filled)
    for d in range(depths):
        for h in range(0, heights, together):
            at = d * row[STRIDE] * row[SHAPE + 1] * width * n + h * along
            of, runs = (d * heights + h) * filled, min(together, heights - h)
            for piece in range(pieces):
                i = piece * (filled // wide) // pieces * wide
                end = (piece + 1) * (filled // wide) // pieces * wide
                dot_blocks(d_weight, slopes, of + i, plane, outputs, halves, at + i, taps, runs, filled, along, end - i)


@jit
def conv_back_weight(row, x, dy, d_weight, n, taps, offsets, room):
    """Add the gradient of a convolution's weights."""
    taps = find_taps(row, n, taps, offsets)
    outputs = row[OUTPUTS]
    depths, heights, span = places(row, 0), places(row, 1), places(row, 2) * n
    source, width = in_strides(row, x, n, room)
    plane, along = depths * heights * span, row[STRIDE + 1] * width * n
    pieces = max(1, (span + TILE - 1) // TILE)
    together = max(1, TILE // span)
    for d in range(depths):
        for h in range(0, heights, together):
            at = d * row[STRIDE] * row[SHAPE + 1] * width * n + h * along
            of, runs = (d * heights + h) * span, min(together, heights - h)
            for piece in range(pieces):
                i = piece * span // pieces // VECTOR * VECTOR
                end = span if piece == pieces - 1 else (piece + 1) * span // pieces // VECTOR * VECTOR
                dot_taps(d_weight, dy, of + i, plane, outputs, source, at + i, taps, runs, span, along, end - i)


@jit
def reaching(row, axis):
    """Return which positions of a convolution's kernel reach an input along an axis, as parts of a list of all.

    Input i is reached by those from low[i] to high[i] in the list, which is in the order of their places in a stride.
    Each of them comes from output `through[i]`, less what `back` says of the position.
    """
    size, stride, dilation = row[SHAPE + axis], row[STRIDE + axis], row[DILATION + axis]
    order, back = np.empty((2, row[KERNEL + axis]), np.int64)
    low, high, through = np.empty((3, size), np.int64)
    count, end = places(row, axis), 0
    for phase in range(min(stride, size)):
        begin = end
        for k in range(len(order)):
            if k * dilation % stride == phase:
                order[end], back[end] = k, k * dilation // stride
                end += 1
        a = b = begin
        for number, i in enumerate(range(phase, size, stride)):
            while b < end and number >= back[b]:
                b += 1
            while a < b and number - back[a] >= count:
                a += 1
            low[i], high[i], through[i] = a, b, number
    return order[:end], back, low, high, through


@jit
def widen(x, lines, size, side, out):
    """Write so many lines of `size` values into `out`, each between `side` zeros on both sides."""
    apart = size + 2 * side
    for number in range(lines):
        begin, first = number * apart, number * size
        clear(out[begin : begin + side])
        copy(x[first : first + size], out[begin + side : begin + side + size])
        clear(out[begin + side + size : begin + apart])


@jit
def alike(low, high, first, end, stride):
    """Return where those end, from a first one on, that the same weights reach; with a stride each is by itself."""
    after = first + 1
    while stride == 1 and after < end and low[after] == low[first] and high[after] == high[first]:
        after += 1
    return after


@jit
def reached_alike(row, low, high, through, n):
    """Return the parts of a row of the gradient of a convolution's input that the same weights reach: (parts, 5).

    Of each: where it begins in the row, and where in that of the output's gradient, how many values it has, and from
    which to which weights of a row they are reached. Where there is a stride its columns are a stride apart.
    """
    stride, left = row[STRIDE + 2], row[AROUND + 2]
    end = row[SHAPE + 2] - left
    parts = np.empty((end, 5), np.int64)
    many = 0
    for phase in range(stride):
        x = left + phase
        while x < end:
            begin = x
            while x < end and low[x] == low[begin] and high[x] == high[begin]:
                x += stride
            part = parts[many]
            part[0], part[1], part[2] = (begin - left) * n, through[begin] * n, (x - begin) // stride * n
            part[3], part[4] = low[begin], high[begin]
            many += 1
    return parts[:many]


@jit
def between_zeros(row, low, high, once, n):
    """Return parts of such a row that are as long as it pays, where the output's gradient lies between zeros.

    Their values are reached by all weights that any of them is. `once` is what a part takes by itself, in products.
    """
    left = row[AROUND + 2]
    size = (row[SHAPE + 2] - 2 * left) * n
    parts = np.empty((size // LEAST + 1, 5), np.int64)
    many = 0
    for number in range(max(1, size // LEAST)):
        begin = number * LEAST
        stop = begin + LEAST if size - begin >= 2 * LEAST else size
        first, last, wide = low[left + begin // n], high[left + (stop - 1) // n], stop - begin
        if many > 0:
            before = parts[many - 1]
            apart = before[2] * (before[4] - before[3]) + wide * (last - first) + once
            if (before[2] + wide) * (last - before[3]) <= apart:
                before[2], before[4] = before[2] + wide, last
                continue
        part = parts[many]
        part[0], part[1], part[2], part[3], part[4] = begin, left * n + begin, wide, first, last
        many += 1
    return parts[:many]


@jit
def work_of(parts, once):
    """Return what parts of a row take, in products: of whole blocks of columns, and as if each had a register more."""
    total = 0
    for part in parts:
        blocks = (part[2] + 2 * VECTOR - 1) // (2 * VECTOR)
        total += (2 * blocks + 1) * VECTOR * (part[4] - part[3]) + once
    return total


@jit
def reached_parts(row, dy, low, high, back, through, n, room):
    """Return how a row of the gradient of a convolution's input is computed: from what, of which width, in which parts.

    Its values differ in what reaches them only at its ends, unless there is a stride: so where that is less work, the
    gradient of the output is given zeros at its sides first, in `room`, and `back` is moved along.
    """
    outputs, channels, kernel_w = row[OUTPUTS], row[INPUTS], row[KERNEL + 2]
    widths, lines = places(row, 2), outputs * places(row, 0) * places(row, 1)
    parts = reached_alike(row, low, high, through, n)
    if row[STRIDE + 2] > 1 or kernel_w == 1:
        return dy, widths, parts
    side = max(0, row[DILATION + 2] * (kernel_w - 1) - row[AROUND + 2])
    planes, blocks = row[KERNEL] * row[KERNEL + 1], (channels + ROWS - 1) // ROWS
    once, wider = CALL // (outputs * planes * blocks), (widths + 2 * side) * n
    copied = wider * (1 if lines * wider <= NEAR else 8) // (planes * blocks)
    others = between_zeros(row, low, high, once, n)
    if work_of(others, once) + copied > work_of(parts, once):
        return dy, widths, parts
    widen(dy, lines, widths * n, side * n, room)
    for w in range(kernel_w):
        back[w] = w * row[DILATION + 2] - side
    return room, widths + 2 * side, others


@jit
def turn_weights(row, weight, turned):
    """Write the weights of a convolution (outputs, channels, kernel) as (channels, outputs, kernel)."""
    outputs, channels, kernel = row[OUTPUTS], row[INPUTS], row[KERNEL] * row[KERNEL + 1] * row[KERNEL + 2]
    for c in range(channels):
        for o in range(outputs):
            copy_few(weight, (o * channels + c) * kernel, turned, (c * outputs + o) * kernel, kernel)


@jit
def conv_back_input(row, turned, dy, dx, n, taps, offsets, room, lines):
    """Write the gradient of a convolution's input, without its padding, into dx: of each value all that it went into.

    turned: the weights (channels, outputs, kernel); room: for dy between zeros; lines: for rows whose values lie a
    stride apart.
    """
    outputs, channels, stride = row[OUTPUTS], row[INPUTS], row[STRIDE + 2]
    heights, kernel_h, kernel_w = places(row, 1), row[KERNEL + 1], row[KERNEL + 2]
    depth, height, width = row[SHAPE], row[SHAPE + 1], row[SHAPE + 2]
    front, top, left = row[AROUND], row[AROUND + 1], row[AROUND + 2]
    inner_h, inner_w = height - 2 * top, width - 2 * left
    kernel = row[KERNEL] * kernel_h * kernel_w
    next_row = kernel * outputs
    ds, d_back, d_from, d_to, d_through = reaching(row, np.intp(0))
    hs, h_back, h_from, h_to, h_through = reaching(row, np.intp(1))
    ws, w_back, w_from, w_to, w_through = reaching(row, np.intp(2))
    slope, widths, parts = reached_parts(row, dy, w_from, w_to, w_back, w_through, n, room)
    plane = places(row, 0) * heights * widths * n
    channel = (depth - 2 * front) * inner_h * inner_w * n
    begin, none = np.zeros(channels, np.float32), np.intp(0)
    y_next = top
    while y_next < height - top:  # lines, planes and columns that the same weights reach
        y_first = y_next
        y_next = alike(h_from, h_to, y_first, height - top, row[STRIDE + 1])
        z_next = front
        while z_next < depth - front:
            z_first = z_next
            z_next = alike(d_from, d_to, z_first, depth - front, row[STRIDE])
            for number in range(len(parts)):
                start, through, wide, w_first, w_last = parts[number]
                many = 0  # it stays so where strides pass over
                for d in range(d_from[z_first], d_to[z_first]):
                    for h in range(h_from[y_first], h_to[y_first]):
                        for w in range(w_first, w_last):
                            taps[many] = -((d_back[d] * heights + h_back[h]) * widths + w_back[w]) * n
                            offsets[many] = (ds[d] * kernel_h + hs[h]) * kernel_w + ws[w]
                            many += 1
                many = repeat_taps(taps, offsets, many, outputs, plane, kernel)
                for z in range(z_first, z_next):
                    for y in range(y_first, y_next):
                        at = (d_through[z] * heights + h_through[y]) * widths * n + through
                        to = ((z - front) * inner_h + y - top) * inner_w * n + start
                        into, first, apart = (dx, to, channel) if stride == 1 else (lines, none, wide)
                        weigh_taps(
                            into, first, apart, slope, at, taps, turned, next_row, offsets, none, many, begin, wide
                        )
                        if stride > 1:
                            for c in range(channels):
                                for i in range(wide // n):
                                    copy_few(lines, c * wide + i * n, dx, to + c * channel + i * stride * n, n)


@jit
def pad(row, x, y, n):
    """Copy images x into y with zeros around them, as the convolution after it wants them: see `in_strides`."""
    depth, size, stride = row[SHAPE], row[SHAPE + 1] * row[SHAPE + 2] * n, row[STRIDE + 2]
    before, above, left = row[KERNEL], row[KERNEL + 1], row[KERNEL + 2]
    each = (row[SHAPE + 2] + 2 * left + stride - 1) // stride
    wide = each * stride * n
    plane, edge = (row[SHAPE + 1] + 2 * above) * wide, above * wide
    for number in range(row[INPUTS] * (depth + 2 * before)):
        c, d = number // (depth + 2 * before), number % (depth + 2 * before) - before
        out, source = y[number * plane : (number + 1) * plane], x[(c * depth + d) * size :]
        if d < 0 or d >= depth:
            clear(out)
            continue
        clear(out[:edge])
        if stride == 1:
            widen(source, row[SHAPE + 1], row[SHAPE + 2] * n, left * n, out[edge:])
        else:
            for h in range(row[SHAPE + 1]):
                at, to = h * row[SHAPE + 2] * n, edge + h * wide
                split_line(source, at, row[SHAPE + 2], left, stride, stride, each, out, to, n)
        clear(out[plane - edge :])


@jit
def line(values, number, n):
    """Return n values: those with a number, where all have n. A slice, which takes long to compile, written once."""
    return values[number * n : (number + 1) * n]


@jit
def pool_largest(row, links, x, y, kept, n):
    """Write the largest of the values that each place of the output is linked to, and which of them that is.

    As in torch: the first of several, and NaN before all numbers. links: of each place, and behind the last, where its
    own begin; what a mean is divided by; then, for each place in turn, places of the input, channel by channel alike.
    """
    first, many, places = row[OTHER], row[OUTPUTS], row[SHAPE + 2]
    for c in range(row[INPUTS]):
        for o in range(many):
            best, which = line(y, c * many + o, n), line(kept, c * many + o, n)
            for i in range(n):
                best[i], which[i] = -np.inf, ZERO
            begin = links[first + o]
            for link in range(begin, links[first + o + 1]):
                values, number = line(x, c * places + links[link], n), np.float32(link - begin)
                for i in range(n):
                    better = values[i] > best[i] or values[i] != values[i]
                    which[i] = number if better else which[i]
                    best[i] = values[i] if better else best[i]


@jit
def pool_largest_back(row, links, kept, dy, dx, n):
    """Add the gradient of each place of the output to that of the value that was taken."""
    first, many, places = row[OTHER], row[OUTPUTS], row[SHAPE + 2]
    clear(dx[: row[INPUTS] * places * n])
    for c in range(row[INPUTS]):
        for o in range(many):
            slope, which = line(dy, c * many + o, n), line(kept, c * many + o, n)
            begin = links[first + o]
            for link in range(begin, links[first + o + 1]):
                place, number = line(dx, c * places + links[link], n), np.float32(link - begin)
                for i in range(n):
                    place[i] += slope[i] if which[i] == number else ZERO


@jit
def pool_mean(row, links, x, y, n):
    """Write the mean of the values that each place of the output is linked to: see `pool_largest`."""
    first, many, places = row[OTHER], row[OUTPUTS], row[SHAPE + 2]
    for c in range(row[INPUTS]):
        for o in range(many):
            total, share = line(y, c * many + o, n), ONE / np.float32(links[first + many + 1 + o])
            clear(total)
            for link in range(links[first + o], links[first + o + 1]):
                values = line(x, c * places + links[link], n)
                for i in range(n):
                    total[i] += share * values[i]


@jit
def pool_mean_back(row, links, dy, dx, n):
    """Spread the gradient of each place of the output over what it is the mean of."""
    first, many, places = row[OTHER], row[OUTPUTS], row[SHAPE + 2]
    clear(dx[: row[INPUTS] * places * n])
    for c in range(row[INPUTS]):
        for o in range(many):
            slope, share = line(dy, c * many + o, n), ONE / np.float32(links[first + many + 1 + o])
            for link in range(links[first + o], links[first + o + 1]):
                place = line(dx, c * places + links[link], n)
                for i in range(n):
                    place[i] += share * slope[i]


@jit
def drop(row, numbers, x, masks, y, kept, n):
    """Write x times what a mask lets pass, of each channel; masks (n, channels) is kept with the batch last."""
    channels, many = row[INPUTS], row[SHAPE + 2]
    scale, passed, dropped = numbers[0], numbers[1], numbers[2]
    for c in range(channels):
        mask = line(kept, c, n)
        for i in range(n):
            mask[i] = masks[i * channels + c]
        for j in range(c * many, (c + 1) * many):
            values, into = line(x, j, n), line(y, j, n)
            for i in range(n):
                into[i] = values[i] * (mask[i] * scale) + (passed if mask[i] > ZERO else dropped)


@jit
def drop_back(row, numbers, kept, dy, dx, n):
    """Write the gradient of what passed."""
    many = row[SHAPE + 2]
    for c in range(row[INPUTS]):
        mask = line(kept, c, n)
        for j in range(c * many, (c + 1) * many):
            slope, into = line(dy, j, n), line(dx, j, n)
            for i in range(n):
                into[i] = slope[i] * (mask[i] * numbers[0])


@jit
def sums_of(x, shift, y, other):
    """Return the sums of y - other, and of (x - shift) (y - other), of many values, about as exact as in float64."""
    total = products = 0.0
    for start in range(0, len(x), TILE):
        a, b = x[start : start + TILE], y[start : start + TILE]
        s = p = ZERO
        for i in range(len(a)):
            s += b[i] - other
            p += (a[i] - shift) * (b[i] - other)
        total += s
        products += p
    return total, products


@jit
def norm(x, weight, bias, y, statistics, numbers, training):
    """Normalise x (channels, values) into y (Ioffe and Szegedy 2015, arXiv 1502.03167).

    weight and bias may be empty; statistics (4, channels): running mean and variance, which training updates, and mean
    and 1 / deviation of the batch, which it leaves for `norm_back`; numbers: epsilon and momentum.
    """
    channels, many = x.shape
    epsilon, momentum = numbers[0], numbers[1]
    for c in range(channels):
        w, b = weight[c] if len(weight) else ONE, bias[c] if len(bias) else ZERO
        if training:
            start = x[c, 0]  # about as far from the mean as any: little is lost in the difference of squares
            total, squares = sums_of(x[c], start, x[c], start)
            mean = np.float32(start + total / many)
            variance = max(0.0, squares / many - (total / many) ** 2)
            statistics[0, c] += momentum * (mean - statistics[0, c])
            statistics[1, c] += momentum * (np.float32(variance * many / (many - 1)) - statistics[1, c])
            statistics[2, c], statistics[3, c] = mean, np.float32(1 / math.sqrt(variance + epsilon))
            scale = statistics[3, c] * w
        else:
            mean = statistics[0, c]
            scale = w / np.float32(math.sqrt(statistics[1, c] + epsilon))
        shift = b - mean * scale
        if training:  # the mean first: what is left of two large numbers would be less exact
            for i in range(many):
                y[c, i] = (x[c, i] - mean) * scale + b
        else:
            for i in range(many):
                y[c, i] = x[c, i] * scale + shift


@jit
def norm_back(x, weight, dy, dx, d_weight, d_bias, statistics, wanted):
    """Write the gradients of a batch norm's weight, bias and, if it is wanted, input; dx and dy may be the same."""
    channels, many = x.shape
    for c in range(channels):
        mean, inverse = statistics[2, c], statistics[3, c]
        total, product = sums_of(x[c], mean, dy[c], ZERO)
        product *= inverse
        if len(d_weight):
            d_weight[c] = np.float32(product)
        if len(d_bias):
            d_bias[c] = np.float32(total)
        if wanted:
            scale = (weight[c] if len(weight) else ONE) * inverse
            first, second = np.float32(total / many), np.float32(product / many) * inverse
            for i in range(many):
                dx[c, i] = scale * (dy[c, i] - first - (x[c, i] - mean) * second)


@jit
def sample_norm(row, epsilon, x, weight, bias, y, kept, n):
    """Normalise each group of values of each sample by itself; its mean and 1 / deviation are kept.

    LayerNorm (Ba et al. 2016, arXiv 1607.06450) and GroupNorm (Wu and He 2018, arXiv 1803.08494).
    """
    many, span, weights = row[OUTPUTS], row[SHAPE], row[SHAPE + 1]
    total = np.empty(n, np.float64)
    for group in range(row[INPUTS]):
        begin = group * many
        mean, inverse = line(kept, 2 * group, n), line(kept, 2 * group + 1, n)
        for i in range(n):
            total[i] = 0.0
        for j in range(begin, begin + many):
            values = line(x, j, n)
            for i in range(n):
                total[i] += values[i]
        for i in range(n):
            mean[i] = np.float32(total[i] / many)
        for i in range(n):
            total[i] = 0.0
        for j in range(begin, begin + many):
            values = line(x, j, n)
            for i in range(n):
                total[i] += (values[i] - mean[i]) * (values[i] - mean[i])
        for i in range(n):
            inverse[i] = np.float32(1 / math.sqrt(total[i] / many + epsilon))
        for j in range(begin, begin + many):
            values, into, number = line(x, j, n), line(y, j, n), j // span % weights
            w, b = weight[number] if len(weight) else ONE, bias[number] if len(bias) else ZERO
            for i in range(n):
                into[i] = (values[i] - mean[i]) * inverse[i] * w + b


@jit
def sample_norm_back(row, x, weight, kept, dy, dx, d_weight, d_bias, n):
    """Add the gradients of weight and bias, unless they are empty, and write that of the input."""
    many, span, weights = row[OUTPUTS], row[SHAPE], row[SHAPE + 1]
    first, second = np.empty(n, np.float64), np.empty(n, np.float64)
    for group in range(row[INPUTS]):
        begin = group * many
        mean, inverse = line(kept, 2 * group, n), line(kept, 2 * group + 1, n)
        for i in range(n):
            first[i] = second[i] = 0.0
        for j in range(begin, begin + many):
            values, slope, number = line(x, j, n), line(dy, j, n), j // span % weights
            w = weight[number] if len(weight) else ONE
            total = product = ZERO
            for i in range(n):
                apart = slope[i] * (values[i] - mean[i]) * inverse[i]
                total += slope[i]
                product += apart
                first[i] += w * slope[i]
                second[i] += w * apart
            if len(d_weight):
                d_weight[number] += product
            if len(d_bias):
                d_bias[number] += total
        for i in range(n):
            first[i] /= many
            second[i] *= inverse[i] / many
        for j in range(begin, begin + many):
            values, slope, into = line(x, j, n), line(dy, j, n), line(dx, j, n)
            w = weight[j // span % weights] if len(weight) else ONE
            for i in range(n):
                rest = np.float32(first[i]) + (values[i] - mean[i]) * np.float32(second[i])
                into[i] = inverse[i] * (w * slope[i] - rest)


@jit
def slopes(x, weight, y, n):
    """Write x, of which so many values have one weight, times that where it is negative, into y."""
    for c in range(len(weight)):
        w, values, into = weight[c], line(x, c, n), line(y, c, n)
        for i in range(n):
            into[i] = values[i] if values[i] > ZERO else w * values[i]


@jit
def slopes_back(x, weight, dy, dx, d_weight, n):
    """Add the gradients of the weights of `slopes`, and write that of its input; dx and dy may be the same."""
    for c in range(len(weight)):
        w, values, slope, into, total = weight[c], line(x, c, n), line(dy, c, n), line(dx, c, n), 0.0
        for i in range(n):
            total += ZERO if values[i] > ZERO else values[i] * slope[i]
            into[i] = slope[i] if values[i] > ZERO else w * slope[i]
        d_weight[c] += np.float32(total)


@jit
def log_softmax(x, y):
    """Write the logarithm of the softmax of x (classes, batch) over the classes into y."""
    classes, n = x.shape
    top, total = np.empty(n, np.float32), np.zeros(n, np.float32)
    copy(x[0], top)
    for j in range(1, classes):
        for i in range(n):
            top[i] = top[i] if not x[j, i] > top[i] else x[j, i]
    for j in range(classes):
        for i in range(n):
            total[i] += exp(x[j, i] - top[i])
    for i in range(n):
        top[i] += np.float32(math.log(total[i]))
    for j in range(classes):
        for i in range(n):
            y[j, i] = x[j, i] - top[i]


@jit
def binary_log_sigmoid(x, y, positive):
    """Write the logarithms of the sigmoid of x (batch,), the positive class, and of -x into y (2, batch)."""
    for i in range(len(x)):
        rest = np.float32(math.log(ONE + exp(-abs(x[i]))))
        y[positive, i] = min(x[i], ZERO) - rest
        y[1 - positive, i] = min(-x[i], ZERO) - rest


@jit
def loss_back(loss, y, labels, dy, whole):
    """Write the gradient of a loss of probabilities, before the softmax, into dy; return the loss.

    All that is of these samples; the mean is of the `whole` batch.
    """
    classes, n = y.shape
    sums = np.zeros(n, np.float32)
    share = ONE / np.float32(whole) if loss == DISTANCE else ONE / np.float32(whole * classes)
    total = ZERO
    for j in range(classes):
        for i in range(n):
            p = exp(y[j, i])
            apart = p - ONE if labels[i] == j else p
            if loss == MSE:
                slope = TWO * apart
                total += apart * apart
            elif loss == L1:
                slope = ONE if apart > ZERO else (-ONE if apart < ZERO else ZERO)
                total += abs(apart)
            else:
                slope = -ONE if labels[i] == j else ZERO
                total -= apart if labels[i] == j else ZERO
            dy[j, i] = slope
            sums[i] += slope * p
    for j in range(classes):
        for i in range(n):
            dy[j, i] = exp(y[j, i]) * (dy[j, i] - sums[i]) * share
    return total * share


@jit
def nll_back(y, labels, dy, whole):
    """Write the gradient of the mean negative log likelihood, before the softmax, into dy; return the loss."""
    classes, n = y.shape
    total = ZERO
    share = ONE / np.float32(whole)
    for j in range(classes):
        for i in range(n):
            dy[j, i] = exp(y[j, i]) * share
    for i in range(n):
        total -= y[labels[i], i]
        dy[labels[i], i] -= share
    return total * share


@jit
def smoothed_nll_back(y, labels, dy, smoothing, whole):
    """Do `nll_back` with a share of the wanted probability spread evenly over all classes."""
    classes, n = y.shape
    total = ZERO
    share, spread = ONE / np.float32(whole), smoothing / np.float32(classes)
    for j in range(classes):
        for i in range(n):
            dy[j, i] = (exp(y[j, i]) - spread) * share
            total -= spread * y[j, i]
    for i in range(n):
        total -= (ONE - smoothing) * y[labels[i], i]
        dy[labels[i], i] -= (ONE - smoothing) * share
    return total * share


@jit
def clip(gradients, most):
    """Shorten the gradient to a norm of `most` where it is longer, as torch.nn.utils.clip_grad_norm_ does."""
    total = 0.0
    for i in range(len(gradients)):
        total += np.float64(gradients[i]) * np.float64(gradients[i])
    scale = most / (math.sqrt(total) + 1e-6)
    if not scale >= 1:  # NaN becomes all there is, as in torch
        for i in range(len(gradients)):
            gradients[i] *= np.float32(scale)


@functools.partial(jit, fast=FAST - {"contract"})
def decayed(gradient, decay, value):
    """Return a gradient with weight decay, its product rounded by itself: runs that were begun keep their numbers."""
    return gradient + decay * value


@jit
def step_sgd(values, gradients, first, hyper, nesterov, step):
    """Take a step of SGD, as torch.optim documents it; see `train` for hyper, step is from 1."""
    lr, decay, b1, b2 = np.float32(hyper[0]), np.float32(hyper[1]), np.float32(hyper[2]), np.float32(hyper[3])
    damped = ONE if step == 1 else ONE - b2
    for i in range(len(values)):
        g = gradients[i] + decay * values[i]
        if b1 != ZERO:
            first[i] = b1 * first[i] + damped * g
            g = g + b1 * first[i] if nesterov else first[i]
        values[i] -= lr * g


@part
def constants_of_adam(kind, hyper, step):
    """Return what does not differ from value to value: the parts of what is new, sizes, and the two weight decays."""
    decay, b2, eps = np.float32(hyper[1]), np.float32(hyper[3]), np.float32(hyper[4])
    rest1, rest2 = np.float32(1 - hyper[2]), np.float32(1 - hyper[3])
    size = np.float32(hyper[0] / (1 - hyper[2] ** step))
    root = np.float32(1 / math.sqrt(1 - hyper[3] ** step))
    shrink = np.float32(1 - hyper[0] * hyper[1]) if kind == ADAMW else ONE
    added = ZERO if kind == ADAMW else decay
    return b2, eps, rest1, rest2, size, root, shrink, added


@jit
def step_adam(kind, values, gradients, first, second, hyper, step):
    """Take a step of Adam or AdamW, as torch.optim documents them; see `train` for hyper, step is from 1."""
    b2, eps, rest1, rest2, size, root, shrink, added = constants_of_adam(kind, hyper, step)
    for i in range(len(values)):
        value = values[i] * shrink
        g = decayed(gradients[i], added, value)
        first[i] += rest1 * (g - first[i])
        second[i] = b2 * second[i] + rest2 * g * g
        values[i] = value - size * first[i] / (np.float32(math.sqrt(second[i])) * root + eps)


@jit
def step_amsgrad(kind, values, gradients, first, second, largest, hyper, step):
    """Do `step_adam` with the largest of the second moments so far; a loop of its own, which is one of vectors."""
    b2, eps, rest1, rest2, size, root, shrink, added = constants_of_adam(kind, hyper, step)
    for i in range(len(values)):
        value = values[i] * shrink
        g = gradients[i] + added * value
        first[i] += rest1 * (g - first[i])
        second[i] = b2 * second[i] + rest2 * g * g
        largest[i] = largest[i] if not second[i] > largest[i] else second[i]
        values[i] = value - size * first[i] / (np.float32(math.sqrt(largest[i])) * root + eps)


@jit
def step_rmsprop(values, gradients, first, second, mean, hyper):
    """Take a step of RMSprop, as torch.optim documents it; `mean` of the gradients is empty unless it is centered."""
    lr, decay, momentum = np.float32(hyper[0]), np.float32(hyper[1]), np.float32(hyper[2])
    alpha, rest, eps = np.float32(hyper[3]), np.float32(1 - hyper[3]), np.float32(hyper[4])
    centered, moving = len(mean) > 0, momentum > ZERO
    for i in range(len(values)):
        g = gradients[i] + decay * values[i]
        second[i] = alpha * second[i] + rest * g * g
        size = second[i]
        if centered:
            mean[i] += rest * (g - mean[i])
            size -= mean[i] * mean[i]
        move = g / (np.float32(math.sqrt(size)) + eps)
        if moving:
            first[i] = momentum * first[i] + move
            move = first[i]
        values[i] -= lr * move


@jit
def transpose(rows, columns):
    """Write rows (batch, values) into columns (values, batch)."""
    n, many = rows.shape
    if min(n, many) < VECTOR:
        for j in range(many):
            for i in range(n):
                columns[j, i] = rows[i, j]
        return
    values, out = rows.reshape(n * many), columns.reshape(n * many)
    for start in range(0, many, VECTOR):
        j = min(start, many - VECTOR)  # the last ones together with some before them, a second time
        for begin in range(0, n, VECTOR):
            i = min(begin, n - VECTOR)
            turn(values[i * many + j :], out[j * n + i :], many, n)


@jit
def statistics_of(row, statistics):
    """Return the four rows of a batch norm's statistics."""
    begin = row[OTHER]
    return statistics[begin : begin + 4 * row[INPUTS]].reshape((4, row[INPUTS]))


@jit
def parameters_of(row, values, many):
    """Return a layer's weights and biases, as many of each, or none."""
    weight = values[row[WEIGHT] : row[WEIGHT] + many] if row[WEIGHT] >= 0 else values[:0]
    return weight, values[row[BIAS] : row[BIAS] + many] if row[BIAS] >= 0 else values[:0]


@jit
def forward_rest(row, numbers, links, values, source, y, kept, masks, n, training):
    """Compute one layer of the kinds from SLOPE on."""
    kind, inputs, many = row[KIND], row[INPUTS], row[SHAPE + 2] * n
    weight, bias = parameters_of(row, values, row[SHAPE + 1] if kind == SAMPLE_NORM else inputs)
    if kind == SLOPE:
        slopes(source, weight, y, many)
    elif kind == LARGEST:
        pool_largest(row, links, source, y, kept, n)
    elif kind == MEAN:
        pool_mean(row, links, source, y, n)
    elif kind == SAMPLE_NORM:
        sample_norm(row, numbers[0], source, weight, bias, y, kept, n)
    elif training:
        drop(row, numbers, source, masks[row[OTHER] * n : (row[OTHER] + inputs) * n], y, kept[: inputs * n], n)
    else:
        copy(source, y[: inputs * many])


@jit
def backward_rest(row, numbers, links, values, gradients, source, kept, dy, dx, n):
    """Add the gradients of one layer of the kinds from SLOPE on, and write that of its input."""
    kind = row[KIND]
    many = row[SHAPE + 1] if kind == SAMPLE_NORM else row[INPUTS]
    weight, _ = parameters_of(row, values, many)
    d_weight, d_bias = parameters_of(row, gradients, many)
    into = dx if row[WANTED] else dy  # which nobody needs any more
    if kind == SLOPE:
        slopes_back(source, weight, dy, into, d_weight, row[SHAPE + 2] * n)
    elif kind == LARGEST:
        pool_largest_back(row, links, kept, dy, dx, n)
    elif kind == MEAN:
        pool_mean_back(row, links, dy, dx, n)
    elif kind == SAMPLE_NORM:
        sample_norm_back(row, source, weight, kept, dy, into, d_weight, d_bias, n)
    else:
        drop_back(row, numbers, kept, dy, dx, n)


@jit
def logarithms(table, arena, n, classes, positive):
    """Return those of the probabilities of a batch, (classes, n): behind what the last layer makes."""
    begin = table[-1, OUTPUT] + (classes if positive < 0 else 1)
    return arena[begin * n : (begin + classes) * n].reshape((classes, n))


@entry
def forward(
    table, numbers, links, values, rows, x, arena, taps, offsets, classes, positive, statistics, masks, training, words,
    addresses,
):  # fmt: skip
    """Compute all layers for one batch; the logarithms of the probabilities are where `logarithms` looks.

    numbers (layers, 4): arguments of each; links: what poolings read; rows (n, pixels): the samples; x (pixels * n,):
    the same, batch last, unless the first layer is linear; arena: room for the outputs of all layers, those of the
    softmax at the end; positive: the class whose probability is the sigmoid of the one output, -1 where there is an
    output a class; masks: of all layers of dropout, 1 for what passes, one after another, each (n, channels); words:
    room for `conv_bf16`; addresses: where `ADDRESSED` begin, which are compiled by themselves.
    """
    n = len(rows)
    for at in range(len(table)):
        row = table[at]
        kind, inputs, outputs = row[KIND], row[INPUTS], row[OUTPUTS]
        y = arena[row[OUTPUT] * n :]
        if kind == LINEAR:
            weight = values[row[WEIGHT] : row[WEIGHT] + inputs * outputs]
            bias = values[row[BIAS] : row[BIAS] + outputs] if row[BIAS] >= 0 else values[:0]
            linear(row, rows, arena[max(0, row[INPUT]) * n :], weight, bias, y, n, taps, offsets)
            continue
        source = arena[row[INPUT] * n :] if row[INPUT] >= 0 else x[(-1 - row[INPUT]) * n :]
        if kind == CONV:
            many = inputs * row[KERNEL] * row[KERNEL + 1] * row[KERNEL + 2]
            bias = values[row[BIAS] : row[BIAS] + outputs] if row[BIAS] >= 0 else values[:0]
            room = y[outputs * places(row, 0) * places(row, 1) * places(row, 2) * n :]
            weight = values[row[WEIGHT] : row[WEIGHT] + many * outputs]
            if row[BF16]:
                go_conv_bf16(addresses[2], (row, source, weight, bias, y, n, taps, offsets, room, words))
            else:
                conv(row, source, weight, bias, y, n, taps, offsets, room)
        elif kind == PAD:
            pad(row, source, y[: outputs * n], n)
        elif kind == NORM:
            many = row[SHAPE] * row[SHAPE + 1] * row[SHAPE + 2] * n
            a, b = source[: inputs * many].reshape((inputs, many)), y[: inputs * many].reshape((inputs, many))
            weight, bias = parameters_of(row, values, inputs)
            norm(a, weight, bias, b, statistics_of(row, statistics), numbers[at], training)
        elif kind == ADD:
            other = arena[row[OTHER] * n :] if row[OTHER] >= 0 else x
            for i in range(inputs * n):
                y[i] = source[i] + other[i]
        elif kind == ACTIVATION and row[INPUT] == row[OUTPUT]:
            activate_there(row[FUNCTION], numbers[at], y[: inputs * n])
        elif kind == ACTIVATION:
            activate(row[FUNCTION], numbers[at], source[: inputs * n], y[: inputs * n])
        else:
            kept = arena[row[KEPT] * n :]
            forward_rest(row, numbers[at], links, values, source, y, kept, masks, n, training)
    last, y = table[-1, OUTPUT], logarithms(table, arena, n, classes, positive)
    if positive < 0:
        log_softmax(arena[last * n : (last + classes) * n].reshape((classes, n)), y)
    else:
        binary_log_sigmoid(arena[last * n : (last + 1) * n], y, positive)


@entry
def backward(
    table, numbers, links, values, gradients, rows, x, arena, d_arena, taps, offsets, statistics, product, adds, words,
    addresses,
):  # fmt: skip
    """Add the gradients of all parameters; d_arena holds the gradient of the last layer's output.

    Those of a batch norm, which has all of the batch before it, are written, and those of linear layers unless `adds`
    says that there are some of other samples. product: room for as many weights as one layer has at most.
    """
    n = len(rows)
    for at in range(len(table) - 1, -1, -1):
        row = table[at]
        kind, inputs, outputs = row[KIND], row[INPUTS], row[OUTPUTS]
        dy, dx = d_arena[row[OUTPUT_SLOPE] * n :], d_arena[row[INPUT_SLOPE] * n :]
        if kind == LINEAR:
            begin, end = row[WEIGHT], row[WEIGHT] + inputs * outputs
            d_bias = gradients[row[BIAS] : row[BIAS] + outputs] if row[BIAS] >= 0 else gradients[:0]
            source = arena[max(0, row[INPUT]) * n :]
            room = arena[row[OUTPUT] * n :]
            linear_back_weight(
                row, rows, source, dy, gradients[begin:end], d_bias, n, taps, offsets, product, room, adds
            )
            if row[WANTED]:
                linear_back_input(row, values[begin:end], dy, dx, n, taps, offsets)
            continue
        source = arena[row[INPUT] * n :] if row[INPUT] >= 0 else x[(-1 - row[INPUT]) * n :]
        if kind == CONV:
            many = inputs * row[KERNEL] * row[KERNEL + 1] * row[KERNEL + 2]
            d_bias = gradients[row[BIAS] : row[BIAS] + outputs] if row[BIAS] >= 0 else gradients[:0]
            begin, end = row[WEIGHT], row[WEIGHT] + many * outputs
            room = arena[row[OUTPUT] * n :]
            weight, d_weight = values[begin:end], gradients[begin:end]
            if len(d_bias):
                size = outputs * places(row, 0) * places(row, 1) * places(row, 2) * n
                sum_rows(dy[:size].reshape((outputs, size // outputs)), d_bias)
            if row[BF16]:
                go_conv_back_bf16(addresses[3], (row, source, weight, dy, dx, d_weight, n, taps, offsets, room, words))
                continue
            conv_back_weight(row, source, dy, d_weight, n, taps, offsets, room)
            if row[WANTED]:
                turn_weights(row, weight, product)
                conv_back_input(row, product, dy, dx, n, taps, offsets, room, room)
        elif kind == NORM:
            many = row[SHAPE] * row[SHAPE + 1] * row[SHAPE + 2] * n
            a, g = source[: inputs * many].reshape((inputs, many)), dy[: inputs * many].reshape((inputs, many))
            into = dx[: inputs * many].reshape((inputs, many)) if row[WANTED] else g
            weight, _ = parameters_of(row, values, inputs)
            d_weight, d_bias = parameters_of(row, gradients, inputs)
            norm_back(a, weight, g, into, d_weight, d_bias, statistics_of(row, statistics), row[WANTED])
        elif kind == PAD:
            if row[WANTED] and row[OTHER]:
                for i in range(inputs * row[SHAPE] * row[SHAPE + 1] * row[SHAPE + 2] * n):
                    dx[i] += dy[i]
        elif kind == ADD:
            if row[WANTED]:
                copy(dy, d_arena[row[OTHER_SLOPE] * n : (row[OTHER_SLOPE] + inputs) * n])
        elif kind == ACTIVATION and row[INPUT] == row[OUTPUT]:
            if row[WANTED]:
                activate_back_there(row[FUNCTION], numbers[at], source[: inputs * n], dy[: inputs * n])
        elif kind == ACTIVATION:
            if row[WANTED]:
                y = arena[row[OUTPUT] * n : (row[OUTPUT] + inputs) * n]
                activate_back(row[FUNCTION], numbers[at], source[: inputs * n], y, dy[: inputs * n], dx)
        elif row[WANTED] or row[WEIGHT] >= 0:
            backward_rest(row, numbers[at], links, values, gradients, source, arena[row[KEPT] * n :], dy, dx, n)


@jit
def gather(images, chosen, turn, rows, x):
    """Copy the chosen images into rows (n, pixels) and, if `turn`, batch last into x."""
    n = len(chosen)
    for i in range(n):
        copy(images[chosen[i]], rows[i])
    if turn:
        transpose(rows, x[: rows.size].reshape((rows.shape[1], n)))


@part
def loss_of(loss, y, labels, dy, positive, smoothing, whole):
    """Write the gradient of the loss before the softmax, and return the samples' part of the loss."""
    if loss == NLL and smoothing > 0:
        value = smoothed_nll_back(y, labels, dy, np.float32(smoothing), whole)
    elif loss == NLL:
        value = nll_back(y, labels, dy, whole)
    else:
        value = loss_back(loss, y, labels, dy, whole)
    if positive > 0:  # one output is as two, of which the other is always 0
        copy(dy[1], dy[0])
    return value


@part
def differentiate(
    table, numbers, links, values, gradients, images, labels, chosen, part, rows, x, arena, d_arena, taps, offsets,
    classes, positive, statistics, masks, loss, smoothing, product, words, addresses,
):  # fmt: skip
    """Write the gradients of the loss of the chosen samples, and return it.

    So many samples at a time as a part has go through all layers, forwards and back, for that their values stay in the
    caches; with the last ones go those that would be less than a register's.
    """
    turn = table[0, KIND] != LINEAR
    first = table[-1, OUTPUT_SLOPE]
    whole = len(chosen)
    total = ZERO
    gradients[:] = ZERO
    end = 0
    while end < whole:
        start = end
        end = start + part if whole - start >= part + VECTOR else whole
        some = chosen[start:end]
        n = len(some)
        gather(images, some, turn, rows[:n], x)
        go_forward(addresses[0], (
            table, numbers, links, values, rows[:n], x, arena, taps, offsets, classes, positive, statistics, masks,
            True, words, addresses,
        ))  # fmt: skip
        y = logarithms(table, arena, n, classes, positive)
        dy = d_arena[first * n : (first + classes) * n].reshape((classes, n))
        total += loss_of(loss, y, labels[some], dy, positive, smoothing, whole)
        go_backward(addresses[1], (
            table, numbers, links, values, gradients, rows[:n], x, arena, d_arena, taps, offsets, statistics, product,
            start > 0, words, addresses,
        ))  # fmt: skip
    return total


@entry
def train(
    table, numbers, links, values, gradients, images, labels, order, batch, part, rows, x, arena, d_arena, taps,
    offsets, classes, positive, statistics, masks, loss, product, optimizer, first, second, largest, hyper, schedule,
    nesterov, step, losses, words, addresses,
):  # fmt: skip
    """Take a step on each batch of the samples in `order`; write the loss of each, and return the steps.

    masks: of dropout, those of one step after those of another, each as `forward` wants them; hyper: learning rate,
    weight decay, momentum or beta 1, dampening or beta 2 or alpha, epsilon, the gradient's largest norm or 0, label
    smoothing; schedule: learning rate and momentum or beta 1 of each of these steps, empty where they stay; `first`,
    `second`, `largest`: the states of the optimizer, empty where it has none; step: those taken before. The rest as for
    `differentiate`.
    """
    masked = len(masks) // len(order)
    taken = 0
    for start in range(0, len(order), batch):
        losses[taken] = differentiate(
            table, numbers, links, values, gradients, images, labels, order[start : start + batch], part, rows, x,
            arena, d_arena, taps, offsets, classes, positive, statistics, masks[start * masked :], loss, hyper[6],
            product, words, addresses,
        )  # fmt: skip
        if len(schedule):
            hyper[0], hyper[2] = schedule[taken, 0], schedule[taken, 1]
        if hyper[5] > 0:
            clip(gradients, hyper[5])
        taken += 1
        if optimizer == SGD:
            step_sgd(values, gradients, first, hyper, nesterov, step + taken)
        elif optimizer == RMSPROP:
            step_rmsprop(values, gradients, first, second, largest, hyper)
        elif len(largest):
            step_amsgrad(optimizer, values, gradients, first, second, largest, hyper, step + taken)
        else:
            step_adam(optimizer, values, gradients, first, second, hyper, step + taken)
    return taken


@entry
def score(
    table, numbers, links, values, images, together, x, arena, taps, offsets, classes, positive, statistics, scores,
    words, addresses,
):  # fmt: skip
    """Write the scores (samples, classes) of the images, of which so many are computed together."""
    for begin in range(0, len(images), together):
        part = images[begin : begin + together]
        n = len(part)
        if table[0, KIND] != LINEAR:
            transpose(part, x[: part.size].reshape((part.shape[1], n)))
        go_forward(addresses[0], (
            table, numbers, links, values, part, x, arena, taps, offsets, classes, positive, statistics, x[:0], False,
            words, addresses,
        ))  # fmt: skip
        y = logarithms(table, arena, n, classes, positive)
        for j in range(classes):
            for i in range(n):
                scores[begin + i, j] = y[j, i]


TYPES = {
    "forward": FORWARD,
    "backward": BACKWARD,
    "conv_bf16": CONV_BF16,
    "conv_back_bf16": CONV_BACK_BF16,
    "train": (
        *(_TABLE, _ROWS, _INTEGERS, _VALUES, _VALUES, _ROWS, _INTEGERS, _INTEGERS, types.intp, types.intp, _ROWS),
        *(_VALUES, _VALUES, _VALUES, _INTEGERS, _INTEGERS, types.intp, types.intp, _VALUES, _VALUES, types.intp),
        _VALUES,
        *(types.intp, _VALUES, _VALUES, _VALUES, types.float64[::1], types.float64[:, ::1], types.boolean),
        *(types.intp, _VALUES, _WORDS, _INTEGERS),
    ),
    "score": (
        *(_TABLE, _ROWS, _INTEGERS, _VALUES, _ROWS, types.intp, _VALUES, _VALUES, _INTEGERS, _INTEGERS),
        *(types.intp, types.intp, _VALUES, _ROWS, _WORDS, _INTEGERS),
    ),
}
"""Types of the arguments of what Python calls, which it is compiled for before it is called."""

ADDRESSED = ("forward", "backward", "conv_bf16", "conv_back_bf16")
"""What is called by its address, in the order in which the addresses are given."""
