"""Distributed training: exchangeable rules, on simulated workers, processes and a cluster."""
