"""Words that make no command are refused before anything is loaded: exit code 2, one line, nothing written."""

from __future__ import annotations

import pytest

import whet as library


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ("0", "0 of what?"), ("0s", "above 0"), ("0trials", "above 0"), ("-5s", "above 0"), ("-3trials", "above 0"),
        ("soon", "cannot be read"), ("10", "10 of what?"), ("1.5trials", "whole number"), ("", "cannot be read"),
    ],
)  # fmt: skip
def test_a_budget(refused, budget, said):
    for verb in ("run", "tune"):
        refused(verb, "digits", "--budget", budget, needed=(budget, said, "Use e.g. 90s, 10m"))


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        ("runn digits", ("runn", "Did you mean 'run'?", "whet --help")),
        ("run digits --budgte 3s", ("--budgte", "Did you mean '--budget'?", "`whet run --help`")),
        ("train digits --bugdet 3s", ("--bugdet", "`whet train --help`")),
        ("run digits --budget", ("run:", "'--budget' requires an argument")),
        ("run", ("run:", "missing argument 'TASK|PATH'")),
        ("new", ("missing argument 'DIR'",)),
        ("study show", ("missing argument 'STUDY'",)),
        ("study shwo", ("shwo", "Did you mean 'show'?")),
        ("run digits extra", ("extra",)),
        ("run digits --workers 0", ("--workers", "at least 1, got 0")),
        ("run digits --workers two", ("--workers", "a whole number, got 'two'")),
        ("run digits --workers=two", ("--workers", "a whole number, got 'two'")),
        ("run digits --workers 1000000", ("--workers", "1000000")),
        ("tune digits --workers -1", ("--workers", "at least 1, got -1")),
        ("tune digits --on cloud", ("--on cloud", "no such place", "Use processes, ray or ray://HOST:PORT")),
        ("run digits --on proceses", ("--on proceses", "Did you mean 'processes'?")),
        ("tune digits --on ray://", ("--on ray://: is no address", "e.g. ray://head:10001")),
        ("tune digits --memory lots", ('memory "lots"', "cannot be read", "4GB")),
        ("run digits --memory 1kB", ("memory", "at least 16 MB")),
        ("run digits --gpus -1", ("gpus", "a fraction of 1 or a whole number", "'-1'")),
        ("tune digits --gpus 1.5", ("gpus", "a fraction of 1 or a whole number", "'1.5'")),
        ("tune digits --stall 30", ('stall "30"', "30 of what?", "30m")),
        ("tune digits --stall 0s", ("stall", "above 0")),
        ("run digits --epochs 0", ("--epochs", "at least 1, got 0")),
        ("train digits --epochs -2", ("--epochs", "at least 1, got -2")),
        ("run digits --seed x", ("--seed", "a whole number, got 'x'")),
        ("look digits --seed -1", ("--seed", "at least 0, got -1")),
        ("run digits --search nonsense", ("search", "'nonsense'", "Allowed: auto, cma, evolution, forest, gp, grid, hypergradient, policy, portfolio, random, sobol, tpe, trego, zoom")),
        ("tune digits --search sobl", ("'sobl'", "Did you mean 'sobol'?")),
        ("run digits --schedule ahsa", ("schedule", "'ahsa'", "Did you mean 'asha'?")),
        ("run digtis", ("digtis", "Did you mean 'digits'?")),
        ("run no.such:Thing", ("no.such", "no such module")),
        ("run digits --target label", ("--target label", "Leave --target out")),
        ("run diabetes --kind classification", ("--kind classification", "Leave --kind out")),
        ("train diabetes --set lrr=1", ("--set lrr", "no such hyperparameter", "optimizer.lr")),
        ("train diabetes --set lr", ("--set lr", "NAME=VALUE")),
        ("train diabetes --set =3", ("NAME=VALUE",)),
        ("train diabetes --set lr=5", ("optimizer.lr", "got 5", "0.0005 to 0.03")),
        ("train diabetes --set batch=17", ("batch", "got 17", "4, 8, 16")),
        ("train diabetes --set net=deep", ("net", "'deep'", "'mlp', 'linear'")),
        ("train diabetes --set net=linear --set net.width=16", ("net.width", "does not exist")),
        ("train diabetes --set lr=1e-3 --set optimizer.lr=1e-3", ("given twice",)),
        ("check diabetes --set lr=fast", ("optimizer.lr", "'fast'")),
        ("train diabetes --resume", ("--resume", "nothing to go on from")),
        ("study list", ("runs/whet.db", "no such study database", "whet run")),
        ("study show digits --runs elsewhere", ("elsewhere/whet.db", "no such study database")),
        ("run digits --name ../up", ("study name", "'../up'")),
    ],
)  # fmt: skip
def test_words(refused, words, needed):
    line = refused(*words.split(), needed=needed)
    assert not any(s in line for s in ("?.", "..", "None", "Error:")) or "..." in line or "../" in line, line


def test_a_setting_from_the_environment_is_named_too(refused, monkeypatch):
    monkeypatch.setenv("WHET_WORKERS", "many")
    refused("run", "digits", needed=("--workers", "a whole number, got 'many'"))


@pytest.mark.parametrize("folder", ["file", "file/inside"])
def test_runs_that_is_no_folder(refused, tmp_path, folder):
    (tmp_path / "file").write_text("mine")
    refused("run", "diabetes", "--runs", folder, "--budget", "1trials", "--workers", "1", needed=(folder,), out=True)
    refused("train", "diabetes", "--runs", folder, "--epochs", "1", needed=(folder,), out=True)
    assert (tmp_path / "file").read_text() == "mine"


def test_runs_that_cannot_be_written(refused):
    # /proc takes no new folders, not even from root
    refused(
        "run",
        "diabetes",
        "--runs",
        "/proc/whet",
        "--budget",
        "1trials",
        "--workers",
        "1",
        needed=("/proc/whet",),
        out=True,
    )


def test_help_says_how(whet):
    said = whet("--help")
    assert said.code == 0
    assert not said.err
    verbs = "run look check train tune study new".split()
    assert all(f"\n  {verb} " in said.out for verb in verbs)
    for verb in verbs:
        page = whet(verb, "--help").out
        assert f"whet {verb}" in page or verb == "study"
        assert max(map(len, page.splitlines())) <= 80
    for flag in (
        "--budget BUDGET",
        "--target COLUMN",
        "--kind KIND",
        "--workers N",
        "--runs DIR",
        "--name STUDY",
        "Example: whet run",
    ):
        assert flag in whet("run", "--help").out, flag
    assert whet("--version").out == f"whet {library.__version__}\n"


def test_without_a_verb_the_help_is_shown_and_nothing_was_done(whet):
    for words in ((), ("study",)):
        said = whet(*words)
        assert said.code == 2
        assert "Usage: whet" in said.err
        assert not said.out


def test_the_door_is_light(python):
    code = (
        "import sys; import whet.cli.main, whet.cli.run, whet.cli.tune, whet.cli.job, whet.cli.train, whet.cli.check\n"
        "heavy = [m for m in ('torch', 'pandas', 'sklearn', 'sqlalchemy', 'plotly', 'rich') if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_early_ends_it_quietly(start):
    process = start("--help")
    process.stdout.close()
    process.stdout = None
    assert process.wait(60) == 141  # as the shell says of any program that its pipe ended
    assert process.stderr.read() == ""
