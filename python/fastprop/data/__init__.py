"""Arrays, frames and files on their way into a Program: reading, checks, order, parts."""

from __future__ import annotations

from fastprop.data.array_dataset import ArrayDataset
from fastprop.data.arrays import check_finite, to_array
from fastprop.data.arrow import from_arrow
from fastprop.data.batch import Batch
from fastprop.data.csv_files import from_csv
from fastprop.data.dataset import Dataset
from fastprop.data.download import fetch
from fastprop.data.idx import from_idx
from fastprop.data.iterables import from_generator, from_iterable
from fastprop.data.npz import from_npz
from fastprop.data.parquet import from_parquet
from fastprop.data.parts import k_fold, split
from fastprop.data.sampler import RowOrder, WeightedSampler
from fastprop.data.splits import split_rows, train_test_split
from fastprop.data.stream import StreamDataset

__all__ = [
    "ArrayDataset",
    "Batch",
    "Dataset",
    "RowOrder",
    "StreamDataset",
    "WeightedSampler",
    "check_finite",
    "fetch",
    "from_arrow",
    "from_csv",
    "from_generator",
    "from_idx",
    "from_iterable",
    "from_npz",
    "from_parquet",
    "k_fold",
    "split",
    "split_rows",
    "to_array",
    "train_test_split",
]
