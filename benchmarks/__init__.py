"""The benchmarks: ``python -m benchmarks``. Timings live here and nowhere else."""
