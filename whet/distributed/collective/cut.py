"""A model cut into layers: at places where a single tensor passes, so that each part costs about as much as the others."""

from __future__ import annotations

import io
import itertools
import logging
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.distributed.pipelining import Pipe, pipeline
from torch.utils.flop_counter import FlopCounterMode

from whet.distributed.collective.kept import kept
from whet.errors import TaskError

__all__ = ["cut", "parted", "passed"]


def cut(model: nn.Module, example: tuple[Tensor, ...], stages: int) -> Pipe:
    """Return the model, traced in its present mode, as `stages` parts that work one after the other.

    example: the inputs of one microbatch; the parts take no other shape. The parts' parameters and buffers are the model's own. A cut
    may be where one floating tensor and nothing else passes, and what is trained is used on one side alone; each part has something to
    train. Among these places those are chosen whose most expensive part is cheapest: a part costs its share of the operations plus its
    share of the bytes of parameters.

    Raises TaskError when the model cannot be traced (`torch.export`: branches on values, code that is not PyTorch's) or has too few such places.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> [sorted(n for n, _ in cut(net, (torch.zeros(3, 4),), 2).get_stage_module(i).named_parameters()) for i in (0, 1)]
    [['0.bias', '0.weight'], ['2.bias', '2.weight', '4.bias', '4.weight']]
    """
    name = type(model).__name__

    def split(graph: fx.GraphModule) -> fx.GraphModule:
        with kept(model):
            places = _places(graph, example)
        chosen = choose(places, stages)
        if chosen is None:
            most = next(k for k in itertools.count(1) if choose(places, k + 1) is None)
            at_most = (
                f"can be cut into at most {most} stages, got {stages}" if most > 1 else "cannot be cut into stages"
            )
            raise TaskError(
                f"model: {name} {at_most}: a cut needs a place where one tensor passes, and layers with weights of their own on both "
                f"sides. Use --stages {most}, or a model with fewer connections across its layers."
            )
        for node in chosen:
            with graph.graph.inserting_after(node):
                graph.graph.call_function(torch.ops.pippy._pipe_split.default, ())
        graph.recompile()
        return graph

    before = logging.root.manager.disable
    logging.disable(logging.ERROR)  # what PyTorch says to itself meanwhile; an error comes as one
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            return pipeline(model, example, split_policy=split)
    except TaskError:
        raise
    except Exception as e:
        why = str(e.__cause__ or e).strip().splitlines()[0].rstrip(". ")
        raise TaskError(
            f"model: {name} cannot be cut into {stages} stages: torch.export cannot trace it ({why}). Use --stages 1, or take branches on "
            "values and code that is not PyTorch's out of forward()."
        ) from e
    finally:
        logging.disable(before)


def parted(pipe: Pipe, stages: int) -> list[nn.Module]:
    """Return the parts of what `cut` gave; the first takes the inputs of the model, each gives one tensor."""
    graph = pipe.info().graph
    inputs = [n for n in graph.nodes if n.op == "placeholder"]
    first = next(n for n in graph.nodes if n.op == "call_module")
    order = [inputs.index(a) for a in first.args]  # of use, not of the model's
    return [Part(pipe.get_stage_module(i), order if i == 0 else [0]) for i in range(stages)]


class Part(nn.Module):
    """A traced part that takes the model's inputs in their order, and whose output lies row by row, as it has to for sending."""

    def __init__(self, graph: nn.Module, order: Sequence[int]) -> None:
        super().__init__()
        self.graph, self.order = graph, tuple(order)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return one tensor."""
        out: Tensor = self.graph(*(inputs[i] for i in self.order))
        return out.contiguous()


def passed(parts: Sequence[nn.Module], example: tuple[Tensor, ...], model: nn.Module) -> list[tuple[Tensor, ...]]:
    """Return what goes into each part and what comes out of the last, by letting an example through.

    Raises TaskError when what passes does not depend on anything that is trained before it.
    """
    found = [example]
    with kept(model):
        for i, part in enumerate(parts):
            out = part(*found[-1])
            if i < len(parts) - 1 and not out.requires_grad:
                raise TaskError(
                    f"model: {type(model).__name__}: what passes from stage {i} to {i + 1} depends on nothing that is trained. Use fewer stages."
                )
            found.append((torch.empty_like(out, memory_format=torch.contiguous_format).requires_grad_(),))
    return found


class Places:
    """The operations of a graph in their order: what each costs and trains, and after which a cut may be."""

    def __init__(self, nodes: list[fx.Node], costs: list[float], trained: list[int], legal: list[int]) -> None:
        self.nodes, self.legal = nodes, legal
        self.costs = list(itertools.accumulate(costs, initial=0.0))  # of the operations before number i
        self.trained = list(itertools.accumulate(trained, initial=0))


def _places(graph: fx.GraphModule, example: tuple[Tensor, ...]) -> Places:
    nodes = [n for n in graph.graph.nodes if n.op not in ("placeholder", "get_attr", "output")]
    number = {n: i for i, n in enumerate(nodes)}
    counter = _Counter(graph)
    with torch.no_grad():
        counter.run(*example)
    flops = [counter.flops.get(n, 0) for n in nodes]
    sizes, trained = [0] * len(nodes), [0] * len(nodes)
    spans: list[tuple[int, int]] = []  # of what must not be used on both sides of a cut
    tensors: dict[int, list[int]] = {}  # tensor -> numbers of its users
    for node in graph.graph.nodes:
        users = [number.get(u, len(nodes)) for u in node.users]
        if node.op == "get_attr":
            held = _attribute(graph, str(node.target))
            if not isinstance(held, Tensor) or not users:
                continue
            known = tensors.setdefault(id(held), [])
            if held.requires_grad and not known:
                sizes[min(users)] += held.numel() * held.element_size()
                trained[min(users)] += 1
            if held.requires_grad or any(_changes(u) for u in node.users):
                known += users
    spans += [(min(u), max(u)) for u in tensors.values() if u]
    after = [0] * (len(nodes) + 1)  # values that pass behind operation number i
    for node in graph.graph.nodes:
        if node.op == "get_attr" or not node.users:
            continue
        start = number.get(node, -1)
        for i in range(max(start, 0), max(number.get(u, len(nodes)) for u in node.users)):
            after[i] += 1 if start >= 0 else 2  # an input goes to the first part alone
    legal = [i for i, n in enumerate(nodes[:-1]) if _passes(n) and after[i] == 1 and _used_after(n, i, number)]
    legal = [i for i in legal if not any(a <= i < b for a, b in spans)]
    costs = [f / (sum(flops) or 1) + s / (sum(sizes) or 1) for f, s in zip(flops, sizes, strict=True)]
    return Places(nodes, costs, trained, legal)


def choose(places: Places, stages: int) -> list[fx.Node] | None:
    """Return the operations after which to cut, so that the most expensive of the parts is cheapest; None when there are too few."""
    ends = [*(i + 1 for i in places.legal), len(places.nodes)]
    costs, trained = places.costs, places.trained
    best: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}  # operations done -> the cheapest way to there
    for stage in range(stages):
        found: dict[int, tuple[float, tuple[int, ...]]] = {}
        for end in ends if stage < stages - 1 else ends[-1:]:
            ways = [
                (max(cost, costs[end] - costs[start]), (*cuts, end))
                for start, (cost, cuts) in best.items() if start < end and trained[end] > trained[start]
            ]  # fmt: skip
            if ways:
                found[end] = min(ways)
        best = found
    way = best.get(len(places.nodes))
    return None if way is None else [places.nodes[end - 1] for end in way[1][:-1]]


class _Counter(fx.Interpreter):
    """Runs a graph and counts the floating-point operations of each node."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.flops: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        with FlopCounterMode(display=False) as mode:
            out = super().run_node(n)
        self.flops[n] = mode.get_total_flops()
        return out


def _attribute(graph: nn.Module, target: str) -> Any:
    found: Any = graph
    for name in target.split("."):
        found = getattr(found, name)
    return found


def _changes(node: fx.Node) -> bool:
    """Return whether an operation writes into its arguments."""
    schema = getattr(node.target, "_schema", None)
    return schema is None or schema.is_mutable or "batch_norm" in str(node.target)


def _passes(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.is_floating_point()


def _used_after(node: fx.Node, at: int, number: dict[fx.Node, int]) -> bool:
    return any(number.get(u, at + 1) > at for u in node.users)
