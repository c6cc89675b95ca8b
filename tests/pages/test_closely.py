"""The image that is looked at goes from page to page, by its link too."""

from __future__ import annotations

from shown import clean, text
from streamlit.testing.v1 import AppTest

from ri_analysis.ui import resources


def asked(app: AppTest) -> AppTest:
    """Run the page once every model has answered."""
    for job in resources.jobs().starting_with(""):
        job.wait(120)
    return clean(app.run())


def test_an_image_goes_with_the_reader(app: AppTest) -> None:
    app.query_params["image"] = "Greens/5"
    app.query_params["interference.images"] = "drift"
    page = clean(app.switch_page("pages/interference.py").run())
    choice = next(each for each in page.selectbox if each.label == "Image")
    assert choice.value == "Greens/5"
    assert "Image 5 of Greens is" in text(asked(app))
    other = next(name for name in choice.options if name.startswith("Reds"))
    page = clean(choice.select_index(choice.options.index(other)).run())
    page = asked(app)
    assert "of Reds is" in text(page)
    assert page.query_params["image"].startswith("Reds/")


def test_a_link_to_an_image_that_is_not_there_says_so(app: AppTest) -> None:
    app.query_params["image"] = "Greens/99"
    page = app.switch_page("pages/interference.py").run()
    [said] = [each.value for each in page.warning]
    assert "Greens has images 0 to 23, found '99'" in said.replace("\\", "")
