from __future__ import annotations

import pytest
from shown import clean, text
from streamlit.testing.v1 import AppTest

from ri_analysis.ui import kept, links, recipes, state


def follow(app: AppTest, page: str = "accuracy", **entries: str) -> AppTest:
    for name, value in entries.items():
        app.query_params[name.replace("__", ".")] = value
    return clean(app.run() if page == "overview" else app.switch_page(f"pages/{page}.py").run())


def notice(app: AppTest) -> str:
    """Return what is said of the link; there is at most one notice."""
    said = [item.value for item in app.warning if "of the link" in item.value]
    assert len(said) <= 1
    return said[0].replace("\\", "") if said else ""


CASES = {
    "method": ({"method": "tiess"}, "**method=tiess**: there is no 'tiess'; did you mean 'ties'? Task Arithmetic"),
    "key": ({"methd": "ties"}, "**methd=ties**: setting: there is no 'methd'; did you mean 'method'?"),
    "key of a method": ({"ties.scal": "1"}, "there is no 'ties.scal'; did you mean 'ties.scale'?"),
    "value": (
        {"method": "ties", "ties.scale": "99"},
        "**ties.scale=99**: scale λ is a number from −10 to 10; 0.3 is used",
    ),
    "task": ({"off": "Redz,Blues"}, "**off=Redz,Blues**: task: there is no 'Redz'; did you mean 'Reds'?"),
    "coefficient": ({"c.Reds": "40"}, "**c.Reds=40**: a coefficient is a number from −10 to 10; 1 is used"),
    "task of a coefficient": ({"c.Rads": "2"}, "**c.Rads=2**: task: there is no 'Rads'; did you mean 'Reds'?"),
    "expert set": ({"ri": "wild"}, "**ri=wild**: expert set: there is no 'wild'; did you mean 'mild'?"),
    "suite": ({"suite": "demoo"}, "**suite=demoo**: there is no 'demoo'; did you mean 'demo'? The suite shown is"),
    "pinned recipe": ({"pin.A": "method=tiess&off=Blues"}, "method=tiess: there is no 'tiess'; did you mean 'ties'?"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_link_says_what_of_it_was_ignored_and_why(app: AppTest, case: str) -> None:
    entries, said = CASES[case]
    follow(app, **entries)
    assert "One part of the link could not be used" in notice(app)
    assert said in notice(app)


def test_the_rest_of_a_link_works_and_all_of_it_is_said_at_once(app: AppTest) -> None:
    follow(app, **{"method": "ties", "off": "Blues,Nobody", "c.Reds": "0.5", "ties.scale": "x", "colour": "red"})
    assert "3 parts of the link could not be used" in notice(app)
    assert "**TIES**" in text(app)
    assert "Reds × 0.5" in text(app)
    choice = app.session_state["ri.choice"]
    assert choice == {"method": "ties", "off": "Blues", "c.Reds": "0.5"}
    assert set(app.query_params) == {"method", "off", "c.Reds"}
    clean(app.run())
    assert "3 parts" in notice(app)  # until it is closed
    app.button(key="links.close").click().run()
    assert notice(app) == ""


@pytest.mark.parametrize(
    ("page", "entries"),
    [("accuracy", {"off": "Reds,Greens,Blues"}), ("embeddings", {}), ("interference", {"method": "slerp"})],
)
def test_a_page_that_goes_no_further_says_it_too(app: AppTest, page: str, entries: dict[str, str]) -> None:
    follow(app, page, methd="ties", **entries)
    assert "**methd=ties**: setting: there is no 'methd'" in notice(app)


def test_what_is_endless_is_cut(app: AppTest) -> None:
    follow(app, method="x" * 20_000, **{f"no{number}": "y" * 9_000 for number in range(30)})
    assert "31 parts of the link" in notice(app)
    assert notice(app).endswith("- and 11 more")
    assert "Task Arithmetic is shown" in notice(app)
    assert len(notice(app)) < 20 * 700


def test_a_studys_name_and_its_settings_are_checked(app: AppTest) -> None:
    follow(app, "studies", **{"studies.name": "metods"})
    assert "**studies.name=metods**: study: there is no 'metods'; did you mean 'methods'?" in notice(app)


def test_an_option_of_a_page_is_checked(app: AppTest) -> None:
    follow(app, "accuracy", **{"accuracy.view": "normalized"})
    assert "there is no 'normalized'; did you mean 'normalised'?" in notice(app)


def test_a_good_link_is_not_remarked_upon(app: AppTest) -> None:
    follow(app, **{"method": "ties", "off": "Blues", "c.Reds": "-0.5", "ties.scale": "0.4", "pin.B": "method=dare"})
    assert notice(app) == ""


def test_what_is_chosen_on_a_page_and_does_not_fit_any_more_is_no_fault_of_a_link(app: AppTest) -> None:
    follow(app)
    app.session_state["ri.choice"]["accuracy.view"] = "gone"
    clean(app.run())
    assert notice(app) == ""


@pytest.mark.parametrize("page", ["accuracy", "interference", "sensitivity", "studies", "embeddings", "resolve"])
def test_every_choice_that_a_page_keeps_can_stand_in_a_link(
    app: AppTest, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    names: set[str] = set()
    seed = state.seed_widget

    def noted(name: str, value: object) -> str:
        names.add(name)
        return seed(name, value)

    monkeypatch.setattr(state, "seed_widget", noted)
    follow(app, page)
    assert {name for name in names if not name.startswith(recipes.COEFFICIENT)} <= set(links._known())


def test_the_near_match_is_offered_or_what_there_is_where_that_is_little() -> None:
    assert kept.unknown("tie", ["ties", "dare"]) == "there is no 'tie'; did you mean 'ties'?"
    assert kept.unknown("x", ["ties", "dare"]) == "there is no 'x'; expected one of ties, dare"
    assert kept.unknown("x", [f"name {number}" for number in range(20)]) == "there is no 'x'"
