"""Which shapes prefills come in: any, or few where a new one costs time.

On an NVIDIA GPU MLX has cuDNN plan the attention of a prefill for every number of rows, new
tokens, tokens before them and positions held that it has not met: 40 to 55 ms each on an H200
(measured; a plan that is known takes 0.1 ms), and products choose their kernels for 10 ms more.
Running streams wait for it. So there all four are rounded, to shapes that soon are all known.
"""

from __future__ import annotations

from dataclasses import dataclass

GPU_UNIT = 64


@dataclass(frozen=True, slots=True)
class PrefillShapes:
    """Lengths are in tokens and, unless ``unit`` is 1, multiples of it; then all are exact.

    None is filled up beyond ``most``, the positions that the model knows.
    """

    unit: int = 1
    most: int = 1 << 30

    def padded(self, length: int) -> int:
        """What a prompt is filled up to: 8 lengths by 1 unit, 12 by 2, further ones by 4."""
        if self.unit == 1:
            return length
        units = -(-length // self.unit)
        step = 1 if units <= 8 else 2 if units <= 32 else 4
        return min(-(-units // step) * step * self.unit, max(self.most, length))

    def capacity(self, length: int) -> int:
        """Positions to hold for it: a power of two units, or one and a half."""
        length = self.padded(length)
        if self.unit == 1:
            return length
        units = -(-length // self.unit)
        power = 1 << max(0, units - 1).bit_length()
        return (power * 3 // 4 if power >= 4 and units <= power * 3 // 4 else power) * self.unit

    def resume(self, length: int, cached: int) -> int:
        """Where to begin with ``cached`` tokens of a prompt known: there, or a little before."""
        end = self.padded(length)
        return cached if self.unit == 1 else max(0, end - self.padded(end - cached))

    def rows(self, count: int) -> int:
        """How many of ``count`` prompts to take together: a power of two."""
        return count if self.unit == 1 else 1 << (count.bit_length() - 1)

    def chunk(self, offset: int, left: int, wanted: int) -> int:
        """How many of the ``left`` tokens after ``offset`` to take, about ``wanted``.

        All of them, or a power of two units that ends at a multiple of itself.
        """
        if self.unit == 1:
            return min(left, max(1, wanted))
        units = max(1, -(-wanted // self.unit))
        if left <= units * self.unit:
            return left
        power = 1 << (units.bit_length() - 1)
        place = offset // self.unit
        return self.unit * (min(power, place & -place) if place else power)
