"""What this machine's processor multiplies in hardware, beside float32. Loads torch where it is asked."""

from __future__ import annotations

import os


def has_bf16() -> bool:
    """Return whether it multiplies bf16: in AMX tiles or in the registers of AVX512-BF16."""
    return _has_tiles() or _has_pairs()


def has_bf16_for_machine_code() -> bool:
    """Return whether machine code in bf16 is for it: with AVX512-BF16, and without AMX.

    Tiles multiply five times as fast as registers, and machine code has no instructions for them: torch's kernels,
    which have, stay the choice there. So they do where numba is told to compile for another processor.
    """
    elsewhere = any(os.environ.get(name) for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"))
    return _has_pairs() and not _has_tiles() and not elsewhere


def _has_tiles() -> bool:
    return _torch_says("_is_amx_tile_supported")


def _has_pairs() -> bool:
    return _torch_says("_is_avx512_bf16_supported")


def _torch_says(name: str) -> bool:
    import torch

    test = getattr(torch.cpu, name, None)
    return test is not None and bool(test())
