"""Arrays, frames and files on their way into a Program: conversion, checks, order, splits."""

from __future__ import annotations

from fastprop.data.arrays import check_finite, to_array
from fastprop.data.dataset import Dataset
from fastprop.data.sampler import RowOrder, WeightedSampler
from fastprop.data.splits import split_rows, train_test_split

__all__ = [
    "Dataset",
    "RowOrder",
    "WeightedSampler",
    "check_finite",
    "split_rows",
    "to_array",
    "train_test_split",
]
