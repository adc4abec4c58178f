"""docs/rules.md: every rule has a section with all its options, and its Python runs."""

import inspect
import re
from pathlib import Path

import pytest

from whet.distributed.named import RULES, made_by, parse_rule
from whet.distributed.together import Together

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))


def section(name):
    return SECTIONS.get(name) or SECTIONS[re.sub(r"-[ac]$", "", name)]


@pytest.mark.parametrize("name", RULES)
def test_every_rule_has_a_section_with_its_options_and_when_to_use_it(name):
    function, preset = made_by(name)
    text = section(name)
    assert f"`{name}`" in PAGE
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", text, re.M)
    asked = {
        p.rstrip("_"): about.default for p, about in inspect.signature(function).parameters.items() if p not in preset
    }
    assert set(dict(rows)) >= set(asked)
    assert set(dict(rows)) - set(asked) <= {"decay"}  # of the adaptive form alone, in the section of both
    for option, default in asked.items():
        said = dict(rows)[option]
        if default is inspect.Parameter.empty:
            assert said == "needed"
        elif default is not None:
            assert float(said) == default, option
    assert name in ("finite", "clip", "weighted") or "**Use it**" in text


def test_defaults_that_depend_on_the_form_are_as_the_page_says():
    assert dict(parse_rule("dc-asgd").options) == {"lambda": 2.0, "decay": 0.95}
    assert dict(parse_rule("dc-asgd-c").options) == {"lambda": 0.04}
    assert "| 0.04 (c), 2 (a) |" in section("dc-asgd")
    assert dict(parse_rule("ec(every=9)").options)["compress"] == 4


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", PAGE, re.S))
def test_its_python_runs(code):
    space = {}
    exec(compile(code, "docs/rules.md", "exec"), space)
    assert set(space) & {"rule", "shuffle", "halved", "test_contract", "Rings"}
    if "Rings" in space:
        task = space["Rings"]()
        params = {"lr": 0.2, "workers": 3, "rule": "dc-asgd", "rule.lambda_": 0.5}
        task.space.check(params)
        point = list(Together(task, params, steps=4))[-1]
        assert point.value > 0.6
        assert 0 < point.metrics["seconds"] < 150
