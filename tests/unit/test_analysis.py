"""What text and queries become before they meet in the index."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4.engine.analysis import index_terms, parse


def meets(query: str, text: str) -> bool:
    """Whether a keyword of the query is in the text. (The index stems English words besides.)"""
    forms = {form for term in parse(query).terms for form in (term.plain, *term.foreign)}
    return bool(forms & set(index_terms(text).split(" ")))


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("ERR-4711", "Fehler err-4711."),
        ("ab_cd-99/x", "see (ab_cd-99/x)"),
        ("4711", "ERR-4711"),
        ("R2D2.77-B", "part r2d2.77-b, blue"),
        ("cafe", "Das Café"),
        ("café", "the cafe"),
        ("cafe\u0301", "café"),
        ("Straße", "STRASSE"),
        ("Lodz Tromso", "Łódź"),
        ("smørrebrød", "smorrebrod"),
        ("Haus", "Die Häuser sind bei dem Fluss und nicht im Wald"),
        ("Rechnung", "Er hat die Rechnungen nicht bezahlt, und das ist ein Problem"),
        ("nationale", "Les fêtes nationales et les jours de la France et des îles"),
        ("mangé", "Ils ont mangées avec nous dans la maison"),
        ("ciudad", "Las ciudades de la costa y del interior"),
        ("libri", "Il libro che ho letto non è della biblioteca"),
        ("京都", "東京都に住む"),
        ("犬", "私の犬です"),
        ("학교", "우리학교에서"),
        ("ประเทศ", "ในประเทศไทย"),
        ("हिन्दी", "यह हिन्दी है"),
        ("ｱﾊﾟｰﾄ", "アパート"),
    ],
)
def test_a_query_meets_what_it_means(query: str, text: str) -> None:
    assert meets(query, text)


@pytest.mark.parametrize(
    ("query", "text"), [("が", "か"), ("京都", "東京"), ("of", "cats"), ("", "x"), ("🚀 -- ()", "x"), ("ERR", "ERROR")]
)
def test_a_query_does_not_meet_what_it_does_not_say(query: str, text: str) -> None:
    assert not meets(query, text)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("what is the wing", ["wing"]),
        ("to be or not to be", ["to", "be", "or", "not"]),
        ("wie hoch ist der Turm und die Mauer", ["hoch", "Turm", "Mauer"]),
        ("the error ERR-4711", ["error", "ERR", "4711", "ERR-4711"]),
        ("東京都", ["東京", "京都"]),
        ("Run running RUN", ["Run"]),
        ('"( AND -', ["AND"]),
        ('"( -', []),
    ],
)
def test_terms_are_what_tells_something(query: str, words: list[str]) -> None:
    assert [term.text for term in parse(query).terms] == words


@pytest.mark.parametrize(
    ("query", "text", "share"),
    [
        ('"boundary layer"', "A Boundary-\nlayer grows", 1.0),
        ('"boundary layer"', "Boundary layers grow", 0.0),
        ('"boundary layer"', "layer of a boundary", 0.0),
        ("„die Größe“", "Die GROSSE zählt", 1.0),
        ("«déjà vu»", "un deja vu", 1.0),
        ("「京都」", "東京都", 1.0),
        ('"a wing" "a tail"', "a wing and the tail", 0.5),
        ("ERR-47", "(err-47).", 1.0),
        ("ERR-47", "ERR-47-11 and ERR-471 and XERR-47", 0.0),
        ("v1.2", "since v1.2.3", 0.0),
        ("jo@example.com", "write to Jo@Example.com, please", 1.0),
        ("no quotes", "no quotes", 0.0),
        ('"unclosed', "unclosed", 0.0),
        ('"\uff9e" or "\u037a"', "signs that fold to no letter", 0.0),
    ],
)
def test_what_is_quoted_or_named_is_there_exactly_or_not(query: str, text: str, share: float) -> None:
    assert parse(query).exact_in(text) == share


def test_what_is_named_counts_by_its_part_of_the_query() -> None:
    assert parse("ERR-4711").exact_share == parse('fix "this now" somehow').exact_share == 0.5
    assert 0 < parse("how do I fix ERR-4711 on startup").exact_share < 0.25
    assert parse("how do I fix it").exact_share == 0


def test_a_long_query_is_bounded() -> None:
    assert len(parse(" ".join(f"word{n}" for n in range(1000))).terms) == 64
    assert len(parse("東" * 100 + "".join(map(chr, range(0x4E00, 0x5E00)))).terms) == 64
    assert len(parse(" ".join(f'"say {n}"' for n in range(300))).phrases) == 8, "each is a search, or several"


@given(st.text(max_size=60))
def test_any_text_is_a_query_and_meets_itself(text: str) -> None:
    parsed = parse(text)
    assert parsed.exact_in(text) >= 0
    if parsed.terms:
        assert meets(text, text)
