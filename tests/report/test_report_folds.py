"""The page of a cross-validated study says folds, and where a score comes from."""

from whet.report.block import Prose, Section
from whet.report.document import Report
from whet.report.folds import in_folds


def page(text: str) -> Report:
    return Report("s", (Section("a", text, "", (Prose(text),)),), "min loss")


def test_scores_are_not_called_those_of_the_validation_split():
    (section,) = in_folds(page("Accuracy 0.9 on validation, by trial 3"), 5).sections
    assert section.title == section.blocks[0].text == "Accuracy 0.9 in cross-validation, by trial 3"


def test_a_hyperparameter_called_epochs_keeps_its_name():
    text = "epochs matters most; after 3 epochs, and an epoch later"
    assert in_folds(page(text), 5, ["lr"]).sections[0].title == "folds matters most; after 3 folds, and a fold later"
    for names in (["epochs"], ["lr", "train.epochs"]):
        said = in_folds(page(text), 5, names).sections[0].title
        assert said == "epochs matters most; after 3 folds, and an epoch later"
