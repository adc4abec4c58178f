"""Free text beside the other columns of a table: the words of a text as one averaged vector, then a perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from whet.models.mlp import Mlp

__all__ = ["TextMlp", "WordAverage"]

SPREAD = 0.3  # of a word's vector at the start: from 1 on a step hardly turns it and the words learn late, 0.1 is small to a perceptron


class WordAverage(nn.Module):
    """The vectors of a text's words as one: (n, t) int64 -> (n, width); 0 is padding and counts for nothing.

    words: how many numbers there are, padding included. The sum over the root of the number of words (Cer et al. 2018,
    arXiv:1803.11175), so that what comes out is as large for a long text as for a short one at the start. Number 1, the
    unknown word, starts at zero: where training met none it says nothing. No order is seen (Iyyer et al. 2015, "deep averaging network").

    >>> layer = WordAverage(5, 3)
    >>> layer(torch.tensor([[2, 3, 0], [3, 2, 0], [0, 0, 0]])).shape, bool((layer(torch.zeros(1, 4, dtype=torch.int64)) == 0).all())
    (torch.Size([3, 3]), True)
    """

    def __init__(self, words: int, width: int, *, spread: float = 1.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        with torch.no_grad():
            self.embedding.weight.mul_(spread)
            self.embedding.weight[1:2] = 0

    def forward(self, words: Tensor) -> Tensor:
        """Return the averaged vectors (n, width) of the texts (n, t)."""
        count = (words != 0).sum(1, keepdim=True).clamp(min=1)
        return self.embedding(words).sum(1) / count.to(self.embedding.weight.dtype).sqrt()


class TextMlp(nn.Module):
    """An `Mlp` over numbers (n, p), categories (n, q) and texts (n, t): the words of each text column are averaged first.

    texts: (size of the vocabulary with padding and unknown, words read) of each text column, which stand one behind the other
    in the last input; embedding: width of a word's vector; dropout: also of the averaged vectors; the rest as for `Mlp`.
    depth=0 is linear in the words (as fastText, Joulin et al. 2016, arXiv:1607.01759).

    >>> model = TextMlp(1, 2, texts=[(9, 4), (5, 2)], categories=(3,), depth=1, width=8)
    >>> whole = torch.ones(4, 1, dtype=torch.int64)
    >>> model(torch.zeros(4, 1), whole, torch.ones(4, 6, dtype=torch.int64)).shape
    torch.Size([4, 2])
    """

    def __init__(
        self, numbers: int, outputs: int, *, texts: Sequence[tuple[int, int]], embedding: int = 32, dropout: float = 0.0, **options: Any
    ) -> None:  # fmt: skip
        super().__init__()
        self.lengths = [length for _, length in texts]
        self.averages = nn.ModuleList(WordAverage(words, embedding, spread=SPREAD) for words, _ in texts)
        self.dropout = dropout
        self.mlp = Mlp(numbers + embedding * len(texts), outputs, dropout=dropout, **options)

    def forward(self, numbers: Tensor, categories: Tensor, words: Tensor) -> Tensor:
        """Return (n, outputs)."""
        read = torch.cat([a(w) for a, w in zip(self.averages, words.split(self.lengths, 1), strict=True)], 1)
        if self.dropout:
            read = functional.dropout(read, self.dropout, self.training)
        return self.mlp(torch.cat([numbers, read], 1), categories)
