import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from study.report.comparison import compare
from study.report.page import html
from study.report.published import LINK
from study.report.selection import newest
from tests.report.store import repeated


class _Page(HTMLParser):
    """Collects elements with their attributes, and the text of each table row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: dict[str, str] = {}
        self._row: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag == "tr" and "data-name" in attributes:
            self._row = str(attributes["data-name"])
            self.rows[self._row] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr":
            self._row = None

    def handle_data(self, data: str) -> None:
        if self._row is not None:
            self.rows[self._row] += f" {data.strip()}"


@pytest.fixture(scope="module")
def text(frame: pd.DataFrame) -> str:
    return html(compare(*newest(frame[frame["dataset"] == "mnist"])))


@pytest.fixture(scope="module")
def page(text: str) -> _Page:
    return _Page(text)


def test_needs_nothing_but_itself(page: _Page, text: str) -> None:
    sources = [(tag, value) for tag, attributes in page.elements for key in ("src", "href", "srcset", "action")
               if (value := attributes.get(key))]  # fmt: skip
    assert sources == [("link", "data:,"), ("a", LINK)]
    assert "@import" not in text and "url(" not in text


def test_the_table_has_the_numbers_marks_and_words(page: _Page) -> None:
    assert "96.00 +6.00" in page.rows["full/joint"] and "★" not in page.rows["full/joint"]
    assert "± 1.41" in page.rows["finetune"] and "control" in page.rows["finetune"]
    assert "no better than the faulty model" in page.rows["reassure"]
    assert "publ. unadaptable" in page.rows["vere"] and "publ. unadaptable" not in page.rows["arachne"]
    assert "faulty model" not in page.rows["finetune"]
    assert "20.00 ‡" in page.rows["apricot"]
    assert "needs BatchNorm: LeNet5 has none" in page.rows["vere"]
    assert page.rows["vere"].count("unadaptable") == 5 + 2  # cells, its own summary, the published outcome
    assert "publ. 12.70" in page.rows["arachne"] and "n = 1 of 2" in page.rows["arachne"]
    assert "90.00" in page.rows["faulty model"]


def test_a_star_and_the_gain_beside_a_published_one(frame: pd.DataFrame) -> None:
    page = _Page(html(compare(*newest(repeated(frame[frame["dataset"] == "mnist"])))))
    assert "★ 96.00" in page.rows["full/joint"]
    assert "gain +0.56 %, publ. \N{MINUS SIGN}0.15 %" in page.rows["arachne"]
    assert "gain" not in page.rows["finetune"]  # nothing was published of it


def test_what_no_run_of_a_subject_has_is_no_column_there(frame: pd.DataFrame) -> None:
    page = html(compare(*newest(frame)))
    digits, mnist = (part.split("</thead>")[0] for part in page.split('<section class="subject"')[1:])
    assert "churn" in digits and "churn" not in mnist
    assert "repair time" in mnist and "repair time" not in digits


def test_text_of_runs_is_escaped(text: str) -> None:
    assert "&lt;b&gt;ValueError" in text and "<b>ValueError" not in text


def test_cells_carry_what_sorting_needs(page: _Page) -> None:
    cells = [attributes["data-sort"] for tag, attributes in page.elements if tag == "td"]
    assert "0.7" in cells and "" in cells
    assert all(cell == "" or float(str(cell)) >= 0 for cell in cells)
    order = [attributes["data-sort"] for tag, attributes in page.elements if tag == "th" and "data-sort" in attributes]
    assert order == [str(place) for place in range(8)]


def test_legend_of_masking_only_where_it_occurs(frame: pd.DataFrame, text: str) -> None:
    assert "gradient masking: the" in text
    assert "gradient masking: the" not in html(compare(*newest(frame[frame["dataset"] == "digits"])))


def test_what_does_not_apply_has_its_reason_as_a_hint(frame: pd.DataFrame) -> None:
    grouped = frame["dataset"] == "digits"
    runs = frame.assign(**{"after/aaod": [0.1 if has_groups else None for has_groups in grouped]})
    page = _Page(html(compare(*newest(runs))))
    assert "n/a" in page.rows["apricot"] and "n/a" not in page.rows["vere"]
    hints = {attributes.get("title") for tag, attributes in page.elements if tag == "td"}
    assert "not applicable: the data set has no sensitive groups" in hints


def test_what_applies_nowhere_is_said_once(text: str) -> None:
    assert text.count("AAOD is not applicable: the data set has no sensitive groups.") == 1
    assert text.count("AAOD") == 1


def test_a_number_carries_its_protocol(page: _Page) -> None:
    hints = [attributes.get("title") for tag, attributes in page.elements if tag == "td"]
    assert hints.count("PGD, L-infinity radius 0.15") == 6  # the faulty model and five approaches


def test_the_legend_of_masking_names_what_is_flattered(text: str) -> None:
    assert "which flatters ASR" in text


def test_the_plot_has_a_named_mark_per_approach(page: _Page, text: str) -> None:
    marks = [attributes["data-name"] for tag, attributes in page.elements if tag == "g" and "data-name" in attributes]
    assert marks == ["apricot", "finetune", "full/joint", "reassure", "arachne"] * 2  # symbols, then names
    assert set(re.findall(r'class="label"[^>]*>([^<]+)<', text)) == set(marks)
