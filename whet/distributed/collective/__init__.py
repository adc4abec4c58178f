"""Workers that step together: PyTorch's own data parallel and pipeline, with the batches, checkpoints and owner of whet."""
