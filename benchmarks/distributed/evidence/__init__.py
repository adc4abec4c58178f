"""What the programs of benchmarks/distributed share: the task, one simulated training, what was finished before, and intervals."""
