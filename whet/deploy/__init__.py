"""Ship a model: export it to ONNX, hold that against its source, run it without PyTorch, keep it in a folder."""

from __future__ import annotations

from whet.deploy.bundle import Bundle, load, save
from whet.deploy.deployed import Deployed, predict
from whet.deploy.export import Exported, export
from whet.deploy.verify import Verified, verify

__all__ = ["Bundle", "Deployed", "Exported", "Verified", "export", "load", "predict", "save", "verify"]
