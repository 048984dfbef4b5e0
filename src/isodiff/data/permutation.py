"""A stateless permutation of 0..size-1: shuffled data without a stored order.

A generalized Feistel network on Z_a x Z_b with a b >= size (Black & Rogaway 2002, "Ciphers with
Arbitrary Finite Domains", section 5). Write x = (l, r) with l in Z_a, r in Z_b; the rounds

    l <- l + F_k(r) mod a        (even k)                                                 Eq. (1)
    r <- r + F_k(l) mod b        (odd k)                                                  Eq. (2)

are bijections whatever F is, so their composition is one. A result >= size is encrypted again
until it falls inside ("cycle walking", same paper, section 4), which keeps the bijection. With
a = ceil(sqrt(size)) and b = ceil(size / a) fewer than a points lie outside, so walking is rare.
F_k is the finalizer of SplitMix64 (Steele, Lea & Flood 2014) under a key from (seed, epoch, k).
Not for cryptography.
"""

from __future__ import annotations

import math

import numpy as np

# Few rounds leave permutations of a handful of elements visibly uneven; they cost next to nothing.
ROUNDS = 20
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_WORD = 2**64 - 1


def permute(seed: int, epoch: np.ndarray | int, index: np.ndarray | int, size: int) -> np.ndarray:
    """Where `index` lands in the permutation of 0..size-1 that (seed, epoch) names.

    Args:
        seed: any integer; its low 64 bits count.
        epoch: non-negative integers, broadcast against `index`.
        index: integers in 0..size-1.
        size: number of elements, 1..2**62.

    Returns:
        int64 in 0..size-1, of the broadcast shape; for one epoch, a bijection of `index`.
    """
    if not 1 <= size <= 2**62:
        raise ValueError(f"size {size} is not in 1..2**62")
    epoch, index = np.broadcast_arrays(np.asarray(epoch), np.asarray(index))
    if index.size and not 0 <= index.min() <= index.max() < size:
        raise ValueError(f"indices {index.min()}..{index.max()} are not in 0..{size - 1}")
    a = math.isqrt(size - 1) + 1
    b = -(-size // a)
    key = _mix(
        _mix(np.array([seed & _WORD], np.uint64)) + epoch.astype(np.uint64).ravel() * _GOLDEN
    )
    x = encrypt(index.astype(np.uint64).ravel(), key, a, b)
    while (outside := x >= size).any():
        x[outside] = encrypt(x[outside], key[outside], a, b)
    return x.astype(np.int64).reshape(index.shape)


def encrypt(x: np.ndarray, key: np.ndarray, a: int, b: int) -> np.ndarray:
    """Eq. (1)-(2): one pass of the network over 0..a*b-1; uint64 arrays [n], [n] -> [n]."""
    left, right = np.divmod(x, np.uint64(b))
    for k in range(0, ROUNDS, 2):
        left = (left + _noise(key, k, right) % np.uint64(a)) % np.uint64(a)
        right = (right + _noise(key, k + 1, left) % np.uint64(b)) % np.uint64(b)
    return left * np.uint64(b) + right


def _noise(key: np.ndarray, k: int, half: np.ndarray) -> np.ndarray:
    """F_k: 64 pseudo-random bits from the key, the round and one half of the block."""
    return _mix(_mix(key + np.array([k], np.uint64) * _GOLDEN) + half * _GOLDEN)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64: a bijection of 64-bit words that spreads every bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
