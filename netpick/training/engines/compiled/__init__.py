"""Whole epochs of small networks in machine code."""
