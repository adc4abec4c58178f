"""Words that give the target away (LEAK): one alone tells a class, as the label's own name in the text does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whet.data.seen.columns import absent_with
from whet.data.seen.outcome import Outcome
from whet.data.seen.text import Texts
from whet.data.seen.view import View
from whet.data.text import words
from whet.finding import Finding, Severity

__all__ = ["Telling", "telling_words", "word_leaks"]

TELLS, NAMED = 0.99, (0.98, 0.5)  # AUC; precision and recall of a class's own name
ALPHA = 1e-6
LEAST, MOST = 100, 3  # examples; words of one class: of more it is the language, not a leak


@dataclass(frozen=True)
class Telling:
    """A word that tells a class.

    word: it; cls: class number; inside, outside: share of the class's texts, and of the others, that hold it; p: how likely so
    uneven a word is among all words and classes, if words fell anywhere (hypergeometric, Bonferroni); named: it is the class's own name.

    >>> Telling("sports", 1, 1.0, 0.0, 1e-30, True).auc
    1.0
    """

    word: str
    cls: int
    inside: float
    outside: float
    p: float
    named: bool

    @property
    def auc(self) -> float:
        """The area under the ROC curve of the word alone, for its class against the rest."""
        return (1 + self.inside - self.outside) / 2


def telling_words(texts: Texts, y: np.ndarray, names: tuple[str, ...]) -> list[Telling]:
    """Return the words that alone tell a class of y (n,), best first.

    A word tells its class when its AUC is 0.99 or more, over three words do not, and the next best falls short ten times as
    far; the class's own name already when 98 % of the texts with it are of the class and half of the class's have it.

    >>> draw = np.random.default_rng(0); y = np.arange(200) % 2
    >>> said = [" ".join(draw.choice(["a", "b", "c", "d", "e"], 4)) + (" spam" if c else "") for c in y]
    >>> [t.word for t in telling_words(Texts("t", said, np.zeros(200, bool), np.zeros(200, bool)), y, ("ham", "spam"))]
    ['spam']
    """
    from scipy.stats import hypergeom

    single = [j for j, term in enumerate(texts.terms) if " " not in term]
    n, k = len(y), len(names)
    sizes = np.bincount(y, minlength=k)
    if n < LEAST or not single or sizes.min() < 5:
        return []
    present = (texts.weights[:, single] > 0).astype(np.float64)
    inside = np.asarray(present.T @ np.eye(k)[y])  # (words, k) texts of the class that hold the word
    rows = inside.sum(1, keepdims=True)
    recall, false = inside / sizes, (rows - inside) / (n - sizes)
    auc = (1 + recall - false) / 2
    found = []
    own = [words(name) for name in names]
    for c in range(k):
        order = np.argsort(-auc[:, c], kind="stable")
        best = [int(j) for j in order[: MOST + 1] if auc[j, c] >= TELLS]
        rest = float(auc[order[len(best)], c]) if len(best) < len(order) else 0.5
        if len(best) > MOST or (best and 1 - rest <= 10 * (1 - auc[best[-1], c])):
            best = []
        for j, term in enumerate(single):
            named = own[c] == [texts.terms[term]] and texts.terms[term].isalpha()
            told = named and inside[j, c] >= NAMED[0] * rows[j, 0] and recall[j, c] >= NAMED[1]
            if j in best or told:
                p = float(hypergeom.sf(inside[j, c] - 1, n, sizes[c], rows[j, 0])) * len(single) * k
                if p < ALPHA:
                    found.append(Telling(texts.terms[term], c, float(recall[j, c]), float(false[j, c]), p, named))
    return sorted(found, key=lambda t: -t.auc)


def word_leaks(v: View) -> Outcome:
    """Return a LEAK finding for each text column with words that give the class away, or that is missing with one class alone.

    >>> from whet.data.bundled import digits
    >>> from whet.data.seen.view import view
    >>> word_leaks(view(digits())).findings
    ()
    """
    if v.classes is None or v.y.ndim != 1:
        return Outcome()
    y = v.y.astype(np.int64)
    found = []
    for t in v.texts:
        if told := telling_words(t, y, v.classes):
            shown = ", ".join(f"'{w.word}' tells '{v.classes[w.cls]}' (in {w.inside:.1%} of its texts, {w.outside:.1%} of the others)"
                              for w in told[:3]) + (", ..." if len(told) > 3 else "")  # fmt: skip
            evidence = {"n": len(v), "threshold": TELLS, "words": {w.word: {"class": v.classes[w.cls], "auc": w.auc, "p": w.p,
                        "inside": w.inside, "outside": w.outside} for w in told[:20]}}  # fmt: skip
            fix = "take it out of the texts if it is not there when predicting"
            what = "a word alone gives" if len(told) == 1 else f"{len(told)} words alone give"
            found.append(Finding("LEAK", Severity.WARN, t.name, evidence, f"{what} the target away: {shown}", fix))
        gone = absent_with(t.missing | (t.length == 0), y)
        if gone is not None:
            when = "exactly when" if gone.exactly else "only when"
            text = f"`{t.name}` is empty {when} the target is '{v.classes[gone.cls]}' ({gone.n:,} rows)"
            evidence = {"n": len(v), "missing": gone.n, "class": v.classes[gone.cls], "p": gone.p, "threshold": ALPHA}
            fix = "delete the column if it is not known when predicting"
            found.append(Finding("LEAK", Severity.WARN, t.name, evidence, text, fix))
    return Outcome(findings=tuple(found))
