"""The page: whole, alone, escaped, and the same for the same load."""

import html
import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.tools.load.samples import HOSTILE_NAME, failed_figures, sample_figures, sample_series
from tests.tools.load.samples import unmeasured_figures as unmeasured
from tools.cli import UsageError
from tools.load import report
from tools.load.charts import CHARTS, COLOR_VARIABLES
from tools.load.figures import ROWS, format_value, get
from tools.load.report import build_report, check_report, write_report

pytest.importorskip("matplotlib")
VOID = {"meta", "br", "hr", "img", "link", "input"}
LOADING = {"script", "link", "img", "iframe", "object", "embed", "base", "form", "video", "audio", "image"}


class Page(HTMLParser):
    """Reads a page as strictly as a careful reader would: every tag closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open_tags: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open_tags == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), f"{tag} has an attribute twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and "style" not in self.open_tags:
            self.texts.append(data.strip())


@pytest.fixture(scope="module")
def passed() -> str:
    return build_report(sample_figures(), sample_series())


@pytest.fixture(scope="module")
def failed() -> str:
    return build_report(failed_figures(), sample_series())


def test_the_page_is_well_formed_and_ids_are_unique(passed: str) -> None:
    ids = [attributes["id"] for _, attributes in Page(passed).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_verdict_comes_first_then_the_failures(failed: str) -> None:
    texts = Page(failed).texts
    at = texts.index("FAILED", 1)  # the first is the title
    assert at < 4
    assert texts.index("no convergence") < texts.index("Second by second") < texts.index("Every figure")
    assert any("rmem_max" in text for text in texts[: texts.index("Second by second")])


def test_a_pass_looks_like_one(passed: str) -> None:
    page = Page(passed)
    assert "PASSED" in page.texts and "FAILED" not in page.texts
    assert "The load generator was held back" not in page.texts
    assert "A player costs 37 MB an hour; 64 players for a month: 1.7 TB." in page.texts
    assert "64 players, measured for 60.0 s, at 30 ticks per second" in page.texts


def test_the_tables_have_every_figure_with_its_key_and_meaning(passed: str) -> None:
    for row in ROWS:
        value = html.escape(format_value(get(sample_figures(), row.key), row.unit))
        assert (
            f'<th scope="row">{row.heading}</th><td class="number">{value}</td>'
            f'<td class="keys"><code>{row.key}</code></td>'
            f'<td class="muted explanation">{html.escape(row.explanation)}</td>'
        ) in passed


def test_the_tables_have_every_setting(passed: str) -> None:
    for name, text in {"host": "127.0.0.1", "rate": "30.0", "churn": "-", "own": "yes"}.items():
        assert f'<th scope="row">{name}</th><td>{text}</td>' in passed


def test_every_table_has_a_caption_and_headers(passed: str) -> None:
    tags = [tag for tag, _ in Page(passed).tags]
    assert tags.count("table") == tags.count("caption") == tags.count("thead") > 5
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in Page(passed).tags if tag == "th")


def test_every_chart_is_there_and_parses(passed: str) -> None:
    svgs = re.findall(r"<svg.*?</svg>", passed, re.DOTALL)
    assert len(svgs) == len(CHARTS)
    for svg in svgs:
        ElementTree.fromstring(svg)


def test_the_page_defines_every_color_of_the_charts_in_light_and_dark(passed: str) -> None:
    for name in COLOR_VARIABLES.values():
        assert len(re.findall(rf"{name}: #", passed)) == 2
    used, defined = set(re.findall(r"var\((--[\w-]+)\)", passed)), set(re.findall(r"(--[\w-]+):", passed))
    assert used <= defined


def test_the_page_asks_the_network_for_nothing(failed: str) -> None:
    assert set(re.findall(r"https?://[^\s\"'<]*", failed)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in failed and "@import" not in failed
    assert all(reference.startswith("#") for reference in re.findall(r"url\(([^)]*)\)", failed))
    page = Page(failed)
    assert not {tag for tag, _ in page.tags} & LOADING
    for _, attributes in page.tags:
        assert not {"src", "srcset", "action", "background", "xlink:href"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")


def test_hostile_texts_stay_texts(failed: str) -> None:
    page = Page(failed)
    assert "script" not in {tag for tag, _ in page.tags}
    shown = [text for text in page.texts if "<script>" in text]
    assert len(shown) == 3  # a failure, the name of a setting, and its value
    assert not any(char in failed for char in "\x00\x1b")
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_hostile_texts_stay_texts_wherever_a_text_may_come_from() -> None:
    hostile: Any = dict.fromkeys(sample_figures(), HOSTILE_NAME)
    hostile |= {"failures": [HOSTILE_NAME], "settings": {HOSTILE_NAME: [HOSTILE_NAME]}}
    hostile["load"] = {"bottlenecks": [HOSTILE_NAME]}
    series = [dict.fromkeys(sample_series()[0], HOSTILE_NAME)]
    page = Page(build_report(hostile, series, date=HOSTILE_NAME))
    assert "script" not in {tag for tag, _ in page.tags}


def test_only_what_is_wrong_is_marked(passed: str, failed: str) -> None:
    assert 'class="wrong"' not in passed and ' wrong"' not in passed
    marked = re.findall(r'<tr class="wrong"><th scope="row">([^<]*)', failed)
    assert marked == ["passed", "converged", "missing"]


def test_a_load_without_figures_has_a_page() -> None:
    page = Page(build_report(unmeasured(), []))
    assert "Nothing was measured" in page.texts
    assert page.texts.count("Not measured.") == len(CHARTS)
    assert page.texts.count("-") >= len(ROWS) - 1


def test_the_same_load_has_the_same_bytes(tmp_path: Path, passed: str) -> None:
    path = tmp_path / "report.html"
    path.write_text("old and longer " * 100_000)
    write_report(path, sample_figures(), sample_series())
    assert path.read_bytes() == passed.encode()


def test_the_only_date_is_the_one_that_was_passed(passed: str) -> None:
    dated = build_report(sample_figures(), sample_series(), date="2030-01-02 03:04 UTC")
    assert dated.replace('<p class="muted">2030-01-02 03:04 UTC</p>\n', "") == passed
    assert not re.search(r"\b20\d\d-\d\d-\d\d", passed)


def test_nothing_is_changed() -> None:
    figures, series = failed_figures(), sample_series(3)
    build_report(figures, series)
    assert (figures, series) == (failed_figures(), sample_series(3))


# --- Before the run


def test_a_path_that_will_do_is_accepted(tmp_path: Path) -> None:
    check_report(tmp_path / "report.html")


def test_a_path_that_will_not_do_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        check_report(tmp_path)
    with pytest.raises(UsageError, match="there is no folder"):
        check_report(tmp_path / "missing" / "report.html")


def test_without_matplotlib_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'tickrelay\[all\]'"):
        check_report(tmp_path / "report.html")

    def missing(*_: object) -> str:
        raise ImportError("matplotlib")

    monkeypatch.setattr(report, "draw_chart", missing)
    with pytest.raises(UsageError, match="matplotlib") as caught:
        write_report(tmp_path / "report.html", sample_figures(), sample_series())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()
