"""Whole training steps of small networks in machine code: what the engine runs, compiled by numba.

A small network's step is a dozen kernels of a few microseconds, each called from Python; here one call runs many
steps. All values lie in flat float32 arrays, a table of numbers says which layer takes what from where (`table`
writes it), and the functions below are one pass of one kind of layer each. The samples of a batch lie beside each
other, (values of a sample, batch): so the innermost loop of a convolution runs over a row of an image times the batch,
which is long and in one piece however small the image, and no output is computed that is not asked for. Matrix
products are BLAS's.

On the CPU, in float32, without torch. Compiled once for each version of this file and of the processor; `cache` says
where the result lies. All in one file, since numba looks at no other to see whether what it has kept is out of date.
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

LINEAR, CONV, ACTIVATION, PAD, NORM, ADD = range(6)
"""Kinds of layers. PAD puts zeros around an image, for the CONV after it; NORM is batch norm, ADD ends a residual
block."""

KIND, INPUT, OUTPUT, INPUTS, OUTPUTS, WEIGHT, BIAS, FUNCTION, WANTED, OTHER = range(10)
"""Columns of the table of layers. INPUT and OUTPUT: where the values of a layer's input and output begin, in values of
a sample; -1 for the network's input. INPUTS and OUTPUTS: how many there are; for CONV, PAD and NORM the channels.
WEIGHT and BIAS: where they begin in the flat parameters; BIAS is -1 where there is none. WANTED: whether the gradient
of the input is; of ADD, of what is added. OTHER: of ADD, where what is added begins; of NORM, where its statistics
begin; of PAD, whether its gradient is added to what is there."""

SHAPE, KERNEL, STRIDE, DILATION = 10, 13, 16, 19
"""First of three columns each, for depth, height and width. SHAPE is that of the input; of PAD, KERNEL is the padding,
and of NORM the product of SHAPE counts."""

COLUMNS = 22

RELU, TANH, SIGMOID, SELU, ELU, LEAKY_RELU, GELU, SILU = range(8)
"""Activations, in the order in which the face of the engine names them; so are the optimizers."""

SGD, ADAM, ADAMW = range(3)

NLL, MSE, L1, DISTANCE = range(4)
"""Losses, likewise."""

FAST = {"contract", "reassoc", "nsz", "arcp"}
"""Freedom for sums in another order, as every vectorised sum has it; infinities and NaN stay what they are."""


def jit(function: Any, fast: set[str] = FAST) -> Any:
    """Compile on the first call, or read what an earlier process compiled."""
    options: dict[str, Any] = {"fastmath": fast, "nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder for the cache can be written: every process compiles for itself
        return numba.njit(**options)(function)


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


VECTOR = 16 if binding.get_host_cpu_features().get("avx512f") else 8
"""Values of a register, or of two where they are smaller."""

WIDTHS = (1, 4, VECTOR, 2 * VECTOR)
"""Columns that `tile` computes at once."""

ROWS = 6
"""Rows that it computes at most: with two vectors each, and what is loaded for them, they fill sixteen registers."""


def _tile(builder: Any, rows: int, width: int, pointers: tuple[Any, ...], apart: Any, many: Any) -> None:
    """Write the code of `tile` for so many rows and columns, and `many` taps."""
    y, source, taps, weight, begin = pointers
    wide = min(width, VECTOR)
    kind, number, contract = ir.VectorType(ir.FloatType(), wide), ir.IntType(64), ("contract",)
    vectors = range(width // wide)

    def vector(pointer: Any, at: int) -> Any:
        return builder.bitcast(builder.gep(pointer, [number(at * wide)]), kind.as_pointer())

    def spread(pointer: Any, at: Any) -> Any:
        one = builder.insert_element(kind(ir.Undefined), builder.load(builder.gep(pointer, [at])), number(0))
        return builder.shuffle_vector(one, one, ir.VectorType(ir.IntType(32), wide)([0] * wide))

    # Memory here, which the compiler makes registers.
    sums = [[cgutils.alloca_once_value(builder, spread(begin, number(r))) for _ in vectors] for r in range(rows)]
    with cgutils.for_range(builder, many) as loop:
        read = builder.gep(source, [builder.load(builder.gep(taps, [loop.index]))])
        values = [builder.load(vector(read, v), align=4) for v in vectors]
        for r, row in enumerate(sums):
            factor = spread(weight, builder.add(builder.mul(many, number(r)), loop.index))
            for total, value in zip(row, values, strict=True):
                product = builder.fmul(factor, value, flags=contract)
                builder.store(builder.fadd(builder.load(total), product, flags=contract), total)
    for r, row in enumerate(sums):
        into = builder.gep(y, [builder.mul(apart, number(r))])
        for v, total in enumerate(row):
            builder.store(builder.load(total), vector(into, v), align=4)


@intrinsic
def tile(context: Any, y: Any, apart: Any, source: Any, taps: Any, weight: Any, begin: Any, rows: Any, width: Any):
    """Write begin[r] + the sum of weight[r, t] * source[taps[t] :], over all t, into y[r * apart :].

    The sums of WIDTHS[width] columns and of `rows` rows, at most ROWS, stay in registers over all taps: each value is
    loaded once for all rows, and nothing but the result is written.
    """
    del context

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = {at: context.make_array(signature.args[at])(context, builder, arguments[at]) for at in (0, 2, 3, 4, 5)}
        pointers = tuple(array.data for array in arrays.values())
        case = builder.add(builder.mul(arguments[7], arguments[7].type(ROWS)), arguments[6])
        end = builder.append_basic_block("tiled")
        choice = builder.switch(case, end)
        for number, columns in enumerate(WIDTHS):
            for r in range(1, ROWS + 1):
                block = builder.append_basic_block(f"{r}x{columns}")
                choice.add_case(case.type(number * ROWS + r), block)
                with builder.goto_block(block):
                    _tile(builder, r, columns, pointers, arguments[1], arrays[3].nitems)
                    builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(y, types.intp, source, taps, weight, begin, types.intp, types.intp), generate


@intrinsic
def turn(context: Any, rows: Any, columns: Any, apart: Any, wide: Any) -> Any:
    """Write VECTOR values of VECTOR rows into as many columns; apart: from row to row; wide: from column to column.

    In registers: in each round lanes that are 1, 2, 4, ... apart change places with those of a row as far away.
    """
    del context
    kind, mask = ir.VectorType(ir.FloatType(), VECTOR), ir.VectorType(ir.IntType(32), VECTOR)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, into = (context.make_array(signature.args[at])(context, builder, arguments[at]).data for at in range(2))

        def line(pointer: Any, number: int, step: Any) -> Any:
            return builder.bitcast(builder.gep(pointer, [builder.mul(step, step.type(number))]), kind.as_pointer())

        lines = [builder.load(line(source, i, arguments[2]), align=4) for i in range(VECTOR)]
        step = 1
        while step < VECTOR:
            first = mask([lane if not lane & step else VECTOR + lane - step for lane in range(VECTOR)])
            second = mask([lane + step if not lane & step else VECTOR + lane for lane in range(VECTOR)])
            for i in (i for i in range(VECTOR) if not i & step):
                pair = lines[i], lines[i + step]
                lines[i], lines[i + step] = (builder.shuffle_vector(*pair, lanes) for lanes in (first, second))
            step *= 2
        for j, values in enumerate(lines):
            builder.store(values, line(into, j, arguments[3]), align=4)
        return context.get_dummy_value()

    return types.void(rows, columns, types.intp, types.intp), generate


ONE, HALF, TWO, ZERO = np.float32(1), np.float32(0.5), np.float32(2), np.float32(0)
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
_LEAK = np.float32(0.01)
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
def activate(function, x, y):
    """Write an activation of x into y; they may be the same."""
    n = len(x)
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
            y[i] = x[i] if not x[i] < ZERO else exp(x[i]) - ONE
    elif function == LEAKY_RELU:
        for i in range(n):
            y[i] = x[i] if not x[i] < ZERO else _LEAK * x[i]
    elif function == GELU:
        for i in range(n):
            y[i] = x[i] * normal_cdf(x[i])
    else:
        for i in range(n):
            y[i] = x[i] / (ONE + exp(-x[i]))


@jit
def activate_back(function, x, y, dy, dx):
    """Write the gradient of an activation's input x, of which y is the output, into dx; dx and dy may be the same."""
    n = len(x)
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
            dx[i] = dy[i] * (ONE if y[i] > ZERO else y[i] + ONE)
    elif function == LEAKY_RELU:
        for i in range(n):
            dx[i] = dy[i] if y[i] > ZERO else _LEAK * dy[i]
    elif function == GELU:
        for i in range(n):
            dx[i] = dy[i] * (normal_cdf(x[i]) + x[i] * _ROOT_2PI * exp(-HALF * x[i] * x[i]))
    else:
        for i in range(n):
            s = ONE / (ONE + exp(-x[i]))
            dx[i] = dy[i] * s * (ONE + x[i] * (ONE - s))


@jit
def linear(x, weight, bias, y):
    """Write weight (out, in) times x (in, batch), plus bias (out,) unless it is empty, into y (out, batch)."""
    np.dot(weight, x, y)
    for j in range(len(bias)):
        b = bias[j]
        row = y[j]
        for i in range(len(row)):
            row[i] += b


@jit
def sum_rows(rows, sums):
    """Write the sum of each row into `sums`."""
    for j in range(len(sums)):
        row = rows[j]
        total = ZERO
        for i in range(len(row)):
            total += row[i]
        sums[j] = total


@jit
def add_taps(out, source, taps, weights, n):
    """Add weight times source[tap : tap + n], for all taps, to out[:n]."""
    many = len(taps)
    t = 0
    while t + 4 <= many:
        w0, w1, w2, w3 = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        a, b = source[taps[t] : taps[t] + n], source[taps[t + 1] : taps[t + 1] + n]
        c, d = source[taps[t + 2] : taps[t + 2] + n], source[taps[t + 3] : taps[t + 3] + n]
        for i in range(n):
            out[i] += w0 * a[i] + w1 * b[i] + w2 * c[i] + w3 * d[i]
        t += 4
    while t < many:
        w0 = weights[t]
        a = source[taps[t] : taps[t] + n]
        for i in range(n):
            out[i] += w0 * a[i]
        t += 1


@jit
def add_taps_to_two(out, other, source, taps, weights, more, n):
    """Do `add_taps` for two outputs that read the same values, which are then loaded only once.

    Three taps at a time: with four there are more pairs of arrays that might overlap than the compiler checks for.
    """
    many = len(taps)
    t = 0
    while t + 3 <= many:
        w0, w1, w2 = weights[t], weights[t + 1], weights[t + 2]
        v0, v1, v2 = more[t], more[t + 1], more[t + 2]
        a, b = source[taps[t] : taps[t] + n], source[taps[t + 1] : taps[t + 1] + n]
        c = source[taps[t + 2] : taps[t + 2] + n]
        for i in range(n):
            out[i] += w0 * a[i] + w1 * b[i] + w2 * c[i]
            other[i] += v0 * a[i] + v1 * b[i] + v2 * c[i]
        t += 3
    while t < many:
        w0, v0 = weights[t], more[t]
        a = source[taps[t] : taps[t] + n]
        for i in range(n):
            out[i] += w0 * a[i]
            other[i] += v0 * a[i]
        t += 1


@jit
def weigh_taps(y, apart, source, taps, weight, begin, n):
    """Write begin[o] + the sum of weight[o, t] * source[taps[t] : taps[t] + n] into y[o * apart :], for all outputs o.

    Where the last columns don't fill a tile, some before them are computed a second time.
    """
    outputs, many = len(begin), len(taps)
    blocks = (outputs + ROWS - 1) // ROWS
    width = len(WIDTHS) - 1
    while n < WIDTHS[width]:
        width -= 1
    for start in range(0, n, WIDTHS[width]):
        i = min(start, n - WIDTHS[width])
        for block in range(blocks):
            o, end = block * outputs // blocks, (block + 1) * outputs // blocks
            tile(y[o * apart + i :], apart, source[i:], taps, weight[o * many :], begin[o:], end - o, width)


@jit
def dot_taps(sums, values, source, taps, n):
    """Add the sum of values[:n] times source[tap : tap + n] to `sums`, for each tap."""
    many = len(taps)
    t = 0
    while t + 4 <= many:
        a, b = source[taps[t] : taps[t] + n], source[taps[t + 1] : taps[t + 1] + n]
        c, d = source[taps[t + 2] : taps[t + 2] + n], source[taps[t + 3] : taps[t + 3] + n]
        s0 = s1 = s2 = s3 = ZERO
        for i in range(n):
            v = values[i]
            s0 += v * a[i]
            s1 += v * b[i]
            s2 += v * c[i]
            s3 += v * d[i]
        sums[t] += s0
        sums[t + 1] += s1
        sums[t + 2] += s2
        sums[t + 3] += s3
        t += 4
    while t < many:
        a = source[taps[t] : taps[t] + n]
        s0 = ZERO
        for i in range(n):
            s0 += values[i] * a[i]
        sums[t] += s0
        t += 1


@jit
def dot_taps_of_two(sums, other_sums, values, others, source, taps, n):
    """Do `dot_taps` for two arrays of values, with what they are multiplied with loaded only once."""
    many = len(taps)
    t = 0
    while t + 3 <= many:
        a, b = source[taps[t] : taps[t] + n], source[taps[t + 1] : taps[t + 1] + n]
        c = source[taps[t + 2] : taps[t + 2] + n]
        s0 = s1 = s2 = r0 = r1 = r2 = ZERO
        for i in range(n):
            v, u = values[i], others[i]
            s0 += v * a[i]
            s1 += v * b[i]
            s2 += v * c[i]
            r0 += u * a[i]
            r1 += u * b[i]
            r2 += u * c[i]
        sums[t] += s0
        sums[t + 1] += s1
        sums[t + 2] += s2
        other_sums[t] += r0
        other_sums[t + 1] += r1
        other_sums[t + 2] += r2
        t += 3
    while t < many:
        a = source[taps[t] : taps[t] + n]
        s0 = r0 = ZERO
        for i in range(n):
            s0 += values[i] * a[i]
            r0 += others[i] * a[i]
        sums[t] += s0
        other_sums[t] += r0
        t += 1


@jit
def find_taps(row, n, taps):
    """Write where each weight of an output channel reads, from its first: (channels, kd, kh, kw) in order."""
    depth, height, width = row[SHAPE], row[SHAPE + 1], row[SHAPE + 2]
    t = 0
    for c in range(row[INPUTS]):
        for d in range(row[KERNEL]):
            for h in range(row[KERNEL + 1]):
                for w in range(row[KERNEL + 2]):
                    z, y, x = d * row[DILATION], h * row[DILATION + 1], w * row[DILATION + 2]
                    taps[t] = (((c * depth + z) * height + y) * width + x) * n
                    t += 1
    return taps[:t]


TILE = 1024
"""Values that are worked on at a time: with those they are multiplied with they stay in the first cache."""


@jit
def places(row, axis):
    """Return how many outputs a convolution has along an axis."""
    wide = row[DILATION + axis] * (row[KERNEL + axis] - 1) + 1
    return (row[SHAPE + axis] - wide) // row[STRIDE + axis] + 1


@jit
def pieces(row, n):
    """Return in how many pieces a row of outputs is worked on, the values of one, and how far apart they are read.

    Neighbours in the output are neighbours in the input, unless there is a stride: then each place is by itself.
    """
    span = places(row, 2) * n
    if row[STRIDE + 2] == 1:
        return (span + TILE - 1) // TILE, TILE, TILE
    return span // n, n, row[STRIDE + 2] * n


@part
def extent(row, n):
    """Return the outputs of a convolution: in depth, height and a row of the batch; in all; and `pieces` of a row."""
    depths, heights, span = places(row, 0), places(row, 1), places(row, 2) * n
    count, longest, apart = pieces(row, n)
    return depths, heights, span, depths * heights * span, count, longest, apart


@part
def reach(row, d, h, n):
    """Return where in the input the row of outputs at depth d and height h begins to read."""
    return (d * row[STRIDE] * row[SHAPE + 1] + h * row[STRIDE + 1]) * row[SHAPE + 2] * n


@jit
def conv(row, x, weight, bias, y, n, taps):
    """Write the convolution of x (channels, depth, height, width, batch) into y; row: the layer's, of the table."""
    taps = find_taps(row, n, taps)
    outputs = row[OUTPUTS]
    depths, heights, span, plane, count, longest, apart = extent(row, n)
    begin = bias if len(bias) else np.zeros(outputs, np.float32)
    for d in range(depths):
        for h in range(heights):
            for piece in range(count):
                size = min(longest, span - piece * longest)
                source = x[reach(row, d, h, n) + piece * apart :]
                into = y[(d * heights + h) * span + piece * longest :]
                weigh_taps(into, plane, source, taps, weight, begin, size)


@jit
def conv_back_weight(row, x, dy, d_weight, d_bias, n, taps):
    """Write the gradients of a convolution's weights, and of its bias unless that is empty."""
    taps = find_taps(row, n, taps)
    many, outputs = len(taps), row[OUTPUTS]
    depths, heights, span, plane, count, longest, apart = extent(row, n)
    d_weight[:] = ZERO
    for d in range(depths):
        for h in range(heights):
            for piece in range(count):
                size = min(longest, span - piece * longest)
                source = x[reach(row, d, h, n) + piece * apart :]
                at = (d * heights + h) * span + piece * longest
                o = 0
                while o + 2 <= outputs:
                    g, f = dy[o * plane + at :], dy[(o + 1) * plane + at :]
                    into, other = d_weight[o * many : (o + 1) * many], d_weight[(o + 1) * many : (o + 2) * many]
                    dot_taps_of_two(into, other, g, f, source, taps, size)
                    o += 2
                if o < outputs:
                    dot_taps(d_weight[o * many : (o + 1) * many], dy[o * plane + at :], source, taps, size)
    if len(d_bias):
        sum_rows(dy[: outputs * plane].reshape((outputs, plane)), d_bias)


@jit
def conv_back_input(row, weight, dy, dx, n, taps, turned):
    """Write the gradient of a convolution's input into dx; `turned`: room for the weights, outputs last."""
    taps = find_taps(row, n, taps)
    many, outputs, channels = len(taps), row[OUTPUTS], row[INPUTS]
    kernel = many // channels
    depths, heights, span, plane, count, longest, apart = extent(row, n)
    for t in range(many):
        for o in range(outputs):
            turned[t * outputs + o] = weight[o * many + t]
    planes = np.arange(outputs) * plane
    dx[:] = ZERO
    for d in range(depths):
        for h in range(heights):
            for piece in range(count):
                size = min(longest, span - piece * longest)
                into = dx[reach(row, d, h, n) + piece * apart :]
                source = dy[(d * heights + h) * span + piece * longest :]
                for t in range(kernel):  # two channels at a time; two taps of one channel would overlap
                    c = 0
                    while c + 2 <= channels:
                        i, j = c * kernel + t, (c + 1) * kernel + t
                        w, v = turned[i * outputs : (i + 1) * outputs], turned[j * outputs : (j + 1) * outputs]
                        add_taps_to_two(into[taps[i] :], into[taps[j] :], source, planes, w, v, size)
                        c += 2
                    if c < channels:
                        i = c * kernel + t
                        add_taps(into[taps[i] :], source, planes, turned[i * outputs : (i + 1) * outputs], size)


@jit
def pad(row, x, y, n):
    """Copy images x into y with zeros around them."""
    y[:] = ZERO
    depth, height, width = row[SHAPE], row[SHAPE + 1], row[SHAPE + 2]
    before, above, left = row[KERNEL], row[KERNEL + 1], row[KERNEL + 2]
    high, wide = height + 2 * above, width + 2 * left
    for c in range(row[INPUTS]):
        for d in range(depth):
            for h in range(height):
                a = ((c * depth + d) * height + h) * width * n
                b = (((c * (depth + 2 * before) + d + before) * high + h + above) * wide + left) * n
                y[b : b + width * n] = x[a : a + width * n]


@jit
def pad_back(row, dy, dx, n, adds):
    """Write the gradient of what was padded into dx, or add it to what is there."""
    depth, height, width = row[SHAPE], row[SHAPE + 1], row[SHAPE + 2]
    before, above, left = row[KERNEL], row[KERNEL + 1], row[KERNEL + 2]
    high, wide = height + 2 * above, width + 2 * left
    for c in range(row[INPUTS]):
        for d in range(depth):
            for h in range(height):
                a = ((c * depth + d) * height + h) * width * n
                b = (((c * (depth + 2 * before) + d + before) * high + h + above) * wide + left) * n
                if adds:
                    for i in range(width * n):
                        dx[a + i] += dy[b + i]
                else:
                    dx[a : a + width * n] = dy[b : b + width * n]


EPSILON, MOMENTUM = np.float32(1e-5), np.float32(0.1)
"""Of batch norm, as torch has them by default."""


@jit
def sum_of(x):
    """Return the sum of many values, about as exact as in float64."""
    total = 0.0
    for start in range(0, len(x), TILE):
        part = x[start : start + TILE]
        s = ZERO
        for i in range(len(part)):
            s += part[i]
        total += s
    return total


@jit
def sum_of_products(x, shift, y, other):
    """Return the sum of (x - shift) (y - other), about as exact as in float64."""
    total = 0.0
    for start in range(0, len(x), TILE):
        a, b = x[start : start + TILE], y[start : start + TILE]
        s = ZERO
        for i in range(len(a)):
            s += (a[i] - shift) * (b[i] - other)
        total += s
    return total


@jit
def norm(x, weight, bias, y, statistics, training):
    """Normalise x (channels, values) into y (Ioffe and Szegedy 2015, arXiv 1502.03167).

    statistics (4, channels): running mean and variance, which training updates, and mean and 1 / deviation of the
    batch, which it leaves for `norm_back`.
    """
    channels, many = x.shape
    for c in range(channels):
        if training:
            mean = np.float32(sum_of(x[c]) / many)
            variance = sum_of_products(x[c], mean, x[c], mean) / many
            statistics[0, c] += MOMENTUM * (mean - statistics[0, c])
            statistics[1, c] += MOMENTUM * (np.float32(variance * many / (many - 1)) - statistics[1, c])
            statistics[2, c], statistics[3, c] = mean, np.float32(1 / math.sqrt(variance + EPSILON))
            scale = statistics[3, c] * weight[c]
        else:
            mean = statistics[0, c]
            scale = weight[c] / np.float32(math.sqrt(statistics[1, c] + EPSILON))
        shift = bias[c] - mean * scale
        if training:  # the mean first: what is left of two large numbers would be less exact
            for i in range(many):
                y[c, i] = (x[c, i] - mean) * scale + bias[c]
        else:
            for i in range(many):
                y[c, i] = x[c, i] * scale + shift


@jit
def norm_back(x, weight, dy, dx, d_weight, d_bias, statistics, wanted):
    """Write the gradients of a batch norm's weight, bias and, if it is wanted, input; dx and dy may be the same."""
    channels, many = x.shape
    for c in range(channels):
        mean, inverse = statistics[2, c], statistics[3, c]
        total = sum_of(dy[c])
        product = sum_of_products(x[c], mean, dy[c], ZERO) * inverse
        d_bias[c], d_weight[c] = np.float32(total), np.float32(product)
        if wanted:
            scale = weight[c] * inverse
            first, second = np.float32(total / many), np.float32(product / many) * inverse
            for i in range(many):
                dx[c, i] = scale * (dy[c, i] - first - (x[c, i] - mean) * second)


@jit
def log_softmax(x, y):
    """Write the logarithm of the softmax of x (classes, batch) over the classes into y."""
    classes, n = x.shape
    top, total = np.empty(n, np.float32), np.zeros(n, np.float32)
    top[:] = x[0]
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
def loss_back(loss, y, labels, dy):
    """Write the gradient of a loss of probabilities, before the softmax, into dy; return the loss."""
    classes, n = y.shape
    sums = np.zeros(n, np.float32)
    share = ONE / np.float32(n) if loss == DISTANCE else ONE / np.float32(n * classes)
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
def nll_back(y, labels, dy):
    """Write the gradient of the mean negative log likelihood, before the softmax, into dy; return the loss."""
    classes, n = y.shape
    total = ZERO
    share = ONE / np.float32(n)
    for j in range(classes):
        for i in range(n):
            dy[j, i] = exp(y[j, i]) * share
    for i in range(n):
        total -= y[labels[i], i]
        dy[labels[i], i] -= share
    return total * share


@jit
def smoothed_nll_back(y, labels, dy, smoothing):
    """Do `nll_back` with a share of the wanted probability spread evenly over all classes."""
    classes, n = y.shape
    total = ZERO
    share, spread = ONE / np.float32(n), smoothing / np.float32(classes)
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
def transpose(rows, columns):
    """Write rows (batch, values) into columns (values, batch)."""
    n, many = rows.shape
    if min(n, many) < VECTOR:
        columns[:] = rows.T
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
def forward(table, values, rows, x, arena, taps, classes, positive, statistics, training):
    """Compute all layers for one batch, and return the logarithms of the probabilities (classes, n).

    rows (n, pixels): the samples; x (pixels * n,): the same, batch last, where the first layer is a convolution or an
    activation; arena: room for the outputs of all layers, those of the softmax at the end; positive: the class whose
    probability is the sigmoid of the one output, -1 where there is an output a class.
    """
    n = len(rows)
    for at in range(len(table)):
        row = table[at]
        kind, inputs, outputs = row[KIND], row[INPUTS], row[OUTPUTS]
        y = arena[row[OUTPUT] * n :]
        if kind == LINEAR:
            weight = values[row[WEIGHT] : row[WEIGHT] + inputs * outputs].reshape((outputs, inputs))
            bias = values[row[BIAS] : row[BIAS] + outputs] if row[BIAS] >= 0 else values[:0]
            out = y[: outputs * n].reshape((outputs, n))
            if row[INPUT] < 0:
                np.dot(weight, rows.T, out)
                for j in range(len(bias)):
                    out[j] += bias[j]
            else:
                linear(arena[row[INPUT] * n : (row[INPUT] + inputs) * n].reshape((inputs, n)), weight, bias, out)
            continue
        source = arena[row[INPUT] * n :] if row[INPUT] >= 0 else x
        if kind == CONV:
            many = inputs * row[KERNEL] * row[KERNEL + 1] * row[KERNEL + 2]
            bias = values[row[BIAS] : row[BIAS] + outputs] if row[BIAS] >= 0 else values[:0]
            conv(row, source, values[row[WEIGHT] : row[WEIGHT] + many * outputs], bias, y, n, taps)
        elif kind == PAD:
            pad(row, source, y[: outputs * n], n)
        elif kind == NORM:
            many = row[SHAPE] * row[SHAPE + 1] * row[SHAPE + 2] * n
            a, b = source[: inputs * many].reshape((inputs, many)), y[: inputs * many].reshape((inputs, many))
            weight, bias = values[row[WEIGHT] : row[WEIGHT] + inputs], values[row[BIAS] : row[BIAS] + inputs]
            norm(a, weight, bias, b, statistics_of(row, statistics), training)
        elif kind == ADD:
            other = arena[row[OTHER] * n :] if row[OTHER] >= 0 else x
            for i in range(inputs * n):
                y[i] = source[i] + other[i]
        else:
            activate(row[FUNCTION], source[: inputs * n], y[: inputs * n])
    last = table[-1, OUTPUT]
    made = classes if positive < 0 else 1
    y = arena[(last + made) * n : (last + made + classes) * n].reshape((classes, n))
    if positive < 0:
        log_softmax(arena[last * n : (last + classes) * n].reshape((classes, n)), y)
    else:
        binary_log_sigmoid(arena[last * n : (last + 1) * n], y, positive)
    return y


@jit
def backward(table, values, gradients, rows, x, arena, d_arena, taps, turned, statistics):
    """Write the gradients of all parameters; d_arena holds the gradient of the last layer's output."""
    n = len(rows)
    for at in range(len(table) - 1, -1, -1):
        row = table[at]
        kind, inputs, outputs = row[KIND], row[INPUTS], row[OUTPUTS]
        dy = d_arena[row[OUTPUT] * n :]
        if kind == LINEAR:
            weight = values[row[WEIGHT] : row[WEIGHT] + inputs * outputs].reshape((outputs, inputs))
            d_weight = gradients[row[WEIGHT] : row[WEIGHT] + inputs * outputs].reshape((outputs, inputs))
            g = dy[: outputs * n].reshape((outputs, n))
            if row[INPUT] < 0:
                np.dot(g, rows, d_weight)
            else:
                np.dot(g, arena[row[INPUT] * n : (row[INPUT] + inputs) * n].reshape((inputs, n)).T, d_weight)
            if row[BIAS] >= 0:
                sum_rows(g, gradients[row[BIAS] : row[BIAS] + outputs])
            if row[WANTED]:
                np.dot(weight.T, g, d_arena[row[INPUT] * n : (row[INPUT] + inputs) * n].reshape((inputs, n)))
            continue
        source = arena[row[INPUT] * n :] if row[INPUT] >= 0 else x
        if kind == CONV:
            many = inputs * row[KERNEL] * row[KERNEL + 1] * row[KERNEL + 2]
            d_bias = gradients[row[BIAS] : row[BIAS] + outputs] if row[BIAS] >= 0 else gradients[:0]
            begin, end = row[WEIGHT], row[WEIGHT] + many * outputs
            conv_back_weight(row, source, dy, gradients[begin:end], d_bias, n, taps)
            if row[WANTED]:
                size = inputs * row[SHAPE] * row[SHAPE + 1] * row[SHAPE + 2]
                dx = d_arena[row[INPUT] * n : (row[INPUT] + size) * n]
                conv_back_input(row, values[begin:end], dy, dx, n, taps, turned)
        elif kind == NORM:
            many = row[SHAPE] * row[SHAPE + 1] * row[SHAPE + 2] * n
            a, g = source[: inputs * many].reshape((inputs, many)), dy[: inputs * many].reshape((inputs, many))
            dx = d_arena[row[INPUT] * n : row[INPUT] * n + inputs * many].reshape((inputs, many)) if row[WANTED] else g
            d_weight = gradients[row[WEIGHT] : row[WEIGHT] + inputs]
            d_bias = gradients[row[BIAS] : row[BIAS] + inputs]
            weight = values[row[WEIGHT] : row[WEIGHT] + inputs]
            norm_back(a, weight, g, dx, d_weight, d_bias, statistics_of(row, statistics), row[WANTED])
        elif kind == PAD:
            if row[WANTED]:
                pad_back(row, dy, d_arena[row[INPUT] * n :], n, row[OTHER])
        elif kind == ADD:
            d_arena[row[INPUT] * n : (row[INPUT] + inputs) * n] = dy[: inputs * n]
            if row[WANTED]:
                d_arena[row[OTHER] * n : (row[OTHER] + inputs) * n] = dy[: inputs * n]
        elif row[WANTED]:
            y = arena[row[OUTPUT] * n : (row[OUTPUT] + inputs) * n]
            dx = d_arena[row[INPUT] * n : (row[INPUT] + inputs) * n]
            activate_back(row[FUNCTION], source[: inputs * n], y, dy[: inputs * n], dx)


@jit
def gather(images, chosen, turn, rows, x):
    """Copy the chosen images into rows (n, pixels) and, if `turn`, batch last into x."""
    n = len(chosen)
    for i in range(n):
        rows[i] = images[chosen[i]]
    if turn:
        transpose(rows, x[: rows.size].reshape((rows.shape[1], n)))


@jit
def train(
    table, values, gradients, images, labels, order, batch, rows, x, arena, d_arena, taps, turned, classes, positive,
    statistics, loss, optimizer, first, second, largest, hyper, schedule, nesterov, step, losses,
):  # fmt: skip
    """Take a step on each batch of the samples in `order`; write the loss of each, and return the steps.

    hyper: learning rate, weight decay, momentum or beta 1, dampening or beta 2, epsilon, the gradient's largest norm or
    0, label smoothing; schedule: learning rate and momentum or beta 1 of each of these steps, empty where they stay;
    `first`, `second`, `largest`: the states of the optimizer, empty where it has none; step: those taken before.
    """
    turn = table[0, KIND] != LINEAR
    end = table[-1, OUTPUT]
    taken = 0
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        n = len(chosen)
        part = rows[:n]
        gather(images, chosen, turn, part, x)
        y = forward(table, values, part, x, arena, taps, classes, positive, statistics, True)
        dy = d_arena[end * n : (end + classes) * n].reshape((classes, n))
        if loss == NLL and hyper[6] > 0:
            losses[taken] = smoothed_nll_back(y, labels[chosen], dy, np.float32(hyper[6]))
        elif loss == NLL:
            losses[taken] = nll_back(y, labels[chosen], dy)
        else:
            losses[taken] = loss_back(loss, y, labels[chosen], dy)
        if positive > 0:  # one output is as two, of which the other is always 0
            dy[0] = dy[1]
        if len(schedule):
            hyper[0], hyper[2] = schedule[taken, 0], schedule[taken, 1]
        backward(table, values, gradients, part, x, arena, d_arena, taps, turned, statistics)
        if hyper[5] > 0:
            clip(gradients, hyper[5])
        taken += 1
        if optimizer == SGD:
            step_sgd(values, gradients, first, hyper, nesterov, step + taken)
        elif len(largest):
            step_amsgrad(optimizer, values, gradients, first, second, largest, hyper, step + taken)
        else:
            step_adam(optimizer, values, gradients, first, second, hyper, step + taken)
    return taken


@jit
def score(table, values, images, together, x, arena, taps, classes, positive, statistics, scores):
    """Write the scores (samples, classes) of the images, of which so many are computed together."""
    for begin in range(0, len(images), together):
        part = images[begin : begin + together]
        n = len(part)
        if table[0, KIND] != LINEAR:
            transpose(part, x[: part.size].reshape((part.shape[1], n)))
        y = forward(table, values, part, x, arena, taps, classes, positive, statistics, False)
        for j in range(classes):
            for i in range(n):
                scores[begin + i, j] = y[j, i]
