"""ZeroMQ over ipc, by one ROUTER and a DEALER for each worker; what is sent is not copied, what comes is looked at where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import zmq

from channels.case import apply, case_of, exchanges
from channels.of_tcp import view
from whet.execute.child import Link


def serve(payload: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """Answer each gradient with the weights after it, until every worker has said an empty message."""
    case = case_of(payload)
    weights, left = case.weights(), case.workers
    # a reply is sent from memory of its worker alone, since its bytes go out after send() has returned
    replies: dict[bytes, torch.Tensor] = {}
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.bind(address := f"ipc://{case.folder}/zeromq")
        link.emit({"at": address})
        while left:
            who, said = router.recv_multipart(copy=False)
            if not len(said):
                left -= 1
                continue
            apply(weights, torch.frombuffer(said.buffer, dtype=torch.float32))
            reply = replies.setdefault(who.bytes, torch.empty_like(weights)).copy_(weights)
            router.send_multipart([who, view(reply)], copy=False)
    return {}


def work(payload: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """Send gradients, take weights."""
    case = case_of(payload)
    weights, gradient = case.weights(), case.gradient()
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.connect(payload["at"])
        received = view(weights)

        def exchange() -> None:
            dealer.send(view(gradient), copy=False)
            dealer.recv_into(received)

        found = exchanges(case, link, exchange)
        dealer.send(b"")
    return found
