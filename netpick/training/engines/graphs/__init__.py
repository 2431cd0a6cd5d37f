"""Trainings on a CUDA card, in pieces that are captured once and replayed."""
