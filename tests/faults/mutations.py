"""Damaged copies of valid files, for hypothesis: what files suffer, what readers trip on."""

from hypothesis import strategies as st

# What a reader of numbers, names and structure must survive in any place
TOKENS = (
    "", "nan", "NaN", "inf", "-Infinity", "1e999", "-1e308", "1e-400", "9" * 400, "0x10", "1_000",
    "0", "-0.0", "-1", "1.5", "null", "None", "true", "~", "[]", "{}", "[[", '"', "'", "\\", "\0",
    "é", "٣", "\u2028", "\ufeff", "\U0001f600", "2026-13-45", "2026-02-30", "!!int x", "!!bool x",
    "!!python/object/apply:os.system [x]", "&a [*a]", "*b", "<<: 3", ": ", "- ", "? ", "#", "%",
    ",", ";", "\t", "\r", "\n", "\n\n", "data_x", "loop_", "_cell_length_a", "Xx", "0.5", "_",
    "(3)", "../../x", "=1+1", "1,2", "{", "}", "]", "1e5", "99999999999999999999",
)  # fmt: skip


@st.composite
def _edit(draw, text):
    kind = draw(st.sampled_from(("token", "cut", "flip", "swap", "repeat", "number", "drop")))
    at = draw(st.integers(0, max(0, len(text) - 1)))
    if kind == "cut":
        return text[:at]
    if kind == "token":
        length = draw(st.integers(0, 12))
        return text[:at] + draw(st.sampled_from(TOKENS)) + text[at + length :]
    if kind == "flip":
        old = ord(text[at : at + 1] or " ")
        return text[:at] + chr(old ^ 1 << draw(st.integers(0, 6))) + text[at + 1 :]
    if kind == "number":
        return _replace_number(text, at, draw(st.sampled_from(TOKENS)))
    lines = text.split("\n")
    one = draw(st.integers(0, len(lines) - 1))
    if kind == "swap":
        other = draw(st.integers(0, len(lines) - 1))
        lines[one], lines[other] = lines[other], lines[one]
    elif kind == "repeat":
        lines[one:one] = lines[one : one + draw(st.integers(1, 3))]
    else:
        del lines[one : one + draw(st.integers(1, 3))]
    return "\n".join(lines)


def _replace_number(text, at, new):
    """The first word of digits and letters after `at`, replaced."""
    start = next((i for i in range(at, len(text)) if text[i].isalnum()), len(text))
    end = next((i for i in range(start, len(text)) if not (text[i].isalnum() or text[i] in ".-+")),
               len(text))  # fmt: skip
    return text[:start] + new + text[end:]


@st.composite
def damaged_text(draw, *seeds, most=4):
    """One of the valid texts `seeds` with one to `most` damages."""
    text = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, most))):
        text = draw(_edit(text))
    return text


@st.composite
def damaged_bytes(draw, *seeds):
    """A damaged text as a file: UTF-8, or with bytes that are none, or with another encoding."""
    text = draw(damaged_text(*seeds))
    form = draw(st.sampled_from(("utf-8",) * 6 + ("bytes", "utf-16", "latin-1")))
    if form != "bytes":
        return text.encode(form, errors="replace")
    content = bytearray(text.encode("utf-8", errors="replace"))
    for _ in range(draw(st.integers(1, 3))):
        if content:
            content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content)


_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(TOKENS), st.just([]), st.just({}), st.just([1, "x", None]), st.just({"a": 1}),
    st.just(10**400),
)  # fmt: skip


@st.composite
def damaged_tree(draw, tree, most=3):
    """A copy of a tree of dicts and lists with one to `most` parts changed, dropped or renamed."""
    for _ in range(draw(st.integers(1, most))):
        tree = draw(_changed(tree))
    return tree


@st.composite
def _changed(draw, tree):
    if not isinstance(tree, dict | list) or not tree or draw(st.integers(0, 5)) == 0:
        return draw(_LEAVES)
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    key = draw(st.sampled_from(keys))
    copy = tree.copy()
    kind = draw(st.sampled_from(("deeper", "deeper", "deeper", "drop", "repeat")))
    if kind == "deeper":
        copy[key] = draw(_changed(tree[key]))
    elif kind == "drop":
        del copy[key]
    elif isinstance(copy, list):
        copy.insert(key, tree[key])
    else:
        copy[draw(st.sampled_from(TOKENS))] = copy.pop(key)
    return copy
