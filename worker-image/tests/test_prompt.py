import math

import pytest

from worker.prompt import MAX_WEIGHT, Span, count_breaks, parse_prompt

UP = 1.1
DOWN = 1 / 1.1

ONE_SECTION: list[tuple[str, list[tuple[str, float]]]] = [
    ("", []),
    ("normal text", [("normal text", 1.0)]),
    # Round and square brackets.
    ("an (important) word", [("an ", 1.0), ("important", UP), (" word", 1.0)]),
    ("a [small] word", [("a ", 1.0), ("small", DOWN), (" word", 1.0)]),
    ("((x))", [("x", 1.21)]),
    ("[[x]]", [("x", DOWN * DOWN)]),
    ("()", []),
    ("( )", [(" ", UP)]),
    # Weights.
    ("(x:1.3)", [("x", 1.3)]),
    ("(x:.5)", [("x", 0.5)]),
    ("(x:2.)", [("x", 2.0)]),
    ("(x:0)", [("x", 0.0)]),
    ("(x:-1.5)", [("x", -1.5)]),
    ("(x:+1.5)", [("x", 1.5)]),
    ("(x: 1.3 )", [("x", 1.3)]),
    ("(x :1.3)", [("x ", 1.3)]),
    ("(a:b:1.3)", [("a:b", 1.3)]),
    ("(a:2:1.3)", [("a:2", 1.3)]),
    # Nesting multiplies.
    ("(a (b:2))", [("a ", UP), ("b", 2.2)]),
    ("((a:1.2) b:1.5)", [("a", 1.8), (" b", 1.5)]),
    ("([x])", [("x", 1.0)]),
    (
        "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
        [
            ("a ", 1.0),
            ("house", 1.573),
            (" ", UP),
            ("on", 1.0),
            (" a ", UP),
            ("hill", 0.55),
            (", sun, ", UP),
            ("sky", 1.4641),
            (".", UP),
        ],
    ),
    # Round and square brackets are counted apart.
    ("(a[b)c]", [("a", UP), ("b", 1.0), ("c", DOWN)]),
    # What is not a weight is text.
    ("a:1.3", [("a:1.3", 1.0)]),
    ("a:1.3)", [("a:1.3)", 1.0)]),
    ("(a:b)", [("a:b", UP)]),
    ("(a:)", [("a:", UP)]),
    ("(a:.)", [("a:.", UP)]),
    ("(a:1.2.3)", [("a:1.2.3", UP)]),
    ("(a:1e3)", [("a:1e3", UP)]),
    ("(a:nan)", [("a:nan", UP)]),
    ("(a:1,5)", [("a:1,5", UP)]),
    ("(a:--1)", [("a:--1", UP)]),
    ("(a:1.3", [("a:1.3", UP)]),
    ("[a:1.3]", [("a:1.3", DOWN)]),
    ("([a:1.3)]", [("a", 1.3 * DOWN)]),
    # What the web UI resolves before this parser is text here.
    ("[a:b:0.5]", [("a:b:0.5", DOWN)]),
    ("[a|b]", [("a|b", DOWN)]),
    ("a AND b", [("a AND b", 1.0)]),
    # Unbalanced.
    ("(unbalanced", [("unbalanced", UP)]),
    ("a ((b", [("a ", 1.0), ("b", 1.21)]),
    ("a [b", [("a ", 1.0), ("b", DOWN)]),
    ("a (b [c", [("a ", 1.0), ("b ", UP), ("c", 1.0)]),
    ("a) b] c", [("a) b] c", 1.0)]),
    (":(", [(":", 1.0)]),
    # Escapes.
    (r"\(literal\]", [("(literal]", 1.0)]),
    (r"(a \(b\))", [("a (b)", UP)]),
    (r"\[x\]", [("[x]", 1.0)]),
    (r"a \\ b", [("a \\ b", 1.0)]),
    (r"\\(x)", [("\\", 1.0), ("x", UP)]),
    (r"a\b", [("ab", 1.0)]),
    ("a\\", [("a", 1.0)]),
    (r"(a\:1.3)", [("a", 1.3)]),
    # Runs of equal weight are joined.
    ("(un)(important)", [("unimportant", UP)]),
    ("(a:1.0) b", [("a b", 1.0)]),
    # BREAK is a word of its own in capitals.
    ("BREAKFAST", [("BREAKFAST", 1.0)]),
    ("a break b", [("a break b", 1.0)]),
    ("OUTBREAK", [("OUTBREAK", 1.0)]),
    ("a_BREAK", [("a_BREAK", 1.0)]),
    # Line ends and other scripts are ordinary characters.
    ("a\n(b)\n", [("a\n", 1.0), ("b", UP), ("\n", 1.0)]),
    ("(猫:1.2)🦊", [("猫", 1.2), ("🦊", 1.0)]),
    ("(a:\u0661)", [("a:\u0661", UP)]),
]


def assert_spans(section: tuple[Span, ...], expected: list[tuple[str, float]]) -> None:
    assert [span.text for span in section] == [text for text, _ in expected]
    assert [span.weight for span in section] == pytest.approx([weight for _, weight in expected])


@pytest.mark.parametrize(("text", "expected"), ONE_SECTION, ids=[repr(text) for text, _ in ONE_SECTION])
def test_a_prompt_becomes_runs_of_text_with_a_weight(text: str, expected: list[tuple[str, float]]) -> None:
    sections = parse_prompt(text)
    assert len(sections) == 1
    assert_spans(sections[0], expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a BREAK b", [["a"], ["b"]]),
        ("a\nBREAK\nb", [["a"], ["b"]]),
        ("a,BREAK.b", [["a,"], [".b"]]),
        ("a BREAK BREAK b", [["a"], [], ["b"]]),
        ("BREAK", [[], []]),
        ("BREAK b", [[], ["b"]]),
        ("a BREAK", [["a"], []]),
        ("(a) BREAK [b]", [["a"], ["b"]]),
        ("a:BREAK b", [["a:"], ["b"]]),
    ],
)
def test_break_stands_between_sections_and_takes_the_white_space_around_it(
    text: str, expected: list[list[str]]
) -> None:
    assert [[span.text for span in section] for section in parse_prompt(text)] == expected


@pytest.mark.parametrize(
    "text",
    [
        *(text for text, _ in ONE_SECTION),
        "a BREAK BREAK b",
        "(BREAK:1.3)[BREAK]",
        r"a\BREAK\(BREAK\)",
        "\u00e9BREAK BREAK\u732b BREAK1 BREAK\u0661",
        "\u00d7BREAK\u00d7",
    ],
)
def test_breaks_are_counted_as_sections_end(text: str) -> None:
    assert count_breaks(text) == len(parse_prompt(text)) - 1


def test_break_inside_brackets_ends_the_section_and_leaves_the_weight_of_both_sides() -> None:
    first, second = parse_prompt("(a BREAK b:1.5) c")
    assert_spans(first, [("a", 1.5)])
    assert_spans(second, [("b", 1.5), (" c", 1.0)])


def test_equal_weights_on_both_sides_of_a_break_are_not_joined() -> None:
    assert parse_prompt("a BREAK b") == ((Span("a", 1.0),), (Span("b", 1.0),))


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("(x:1000)", MAX_WEIGHT),
        ("(x:1000.1)", MAX_WEIGHT),
        ("(x:-1001)", -MAX_WEIGHT),
        (f"(x:{'9' * 400})", MAX_WEIGHT),
        (f"((x:{'9' * 400}):0)", 0.0),
        ("(" * 1000 + "x", MAX_WEIGHT),
    ],
)
def test_a_weight_beyond_the_limit_saturates(text: str, weight: float) -> None:
    ((span,),) = parse_prompt(text)
    assert span == Span("x", weight)
    assert math.isfinite(span.weight)
