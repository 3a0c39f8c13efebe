"""Arrays, frames and files on their way into a Program: reading, checks, order, parts."""

from fastprop._lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "data.array_dataset": ("ArrayDataset",),
        "data.arrays": ("check_finite", "to_array"),
        "data.arrow": ("from_arrow",),
        "data.batch": ("Batch",),
        "data.csv_files": ("from_csv",),
        "data.dataset": ("Dataset",),
        "data.download": ("fetch",),
        "data.idx": ("from_idx",),
        "data.iterables": ("from_generator", "from_iterable"),
        "data.npz": ("from_npz",),
        "data.parquet": ("from_parquet",),
        "data.parts": ("k_fold", "split"),
        "data.sampler": ("RowOrder", "WeightedSampler"),
        "data.splits": ("split_rows", "train_test_split"),
        "data.stream": ("StreamDataset",),
    },
)  # fmt: skip
