"""The page "printed beside ours": what `make check` prints, with its reasons."""

from mfutils.compendium.published import shown

__all__ = ["printed_page", "values_table"]

_HEADS = ("value", "where", "printed", "ours", "class", "verdict", "reason")


def printed_page(rows: list[dict], *, profile: str, full: list[dict] = ()) -> str:
    """Markdown with one table per notebook; rows come from `published.check(profile)`.

    full: the rows of the full profile, shown in a column of their own.
    """
    good = sum(bool(row["ok"]) for row in rows)
    lines = [
        "# Printed beside ours\n",
        f"{len(rows)} values, {good} of them as their class asks, profile `{profile}`. `exact`: "
        "equal to the printed digits. `spread`: inside the range of our seeds. `trend`: the "
        "ordering or sign holds. `not-reproducible`: the last column says why.",
    ]
    if full:
        agree = sum(bool(row["ok"]) for row in full)
        lines.append(
            f"\nThe column `at full scale` holds the committed results of the full profile, "
            f"{agree} of {len(full)} as their class asks; its verdict stands where `{profile}` "
            "has none."
        )
    for stem in sorted({row["notebook"] for row in rows}):
        own = [row for row in rows if row["notebook"] == stem]
        beside = [row for row in full if row["notebook"] == stem]
        lines += [f"\n## {{doc}}`notebooks/{stem}`\n", values_table(own, full=beside)]
    return "\n".join(lines) + "\n"


def values_table(rows: list[dict], *, full: list[dict] = ()) -> str:
    """Markdown table of rows of `published.check`, with our values at full scale beside."""
    at_full = {row["id"]: row for row in full}
    heads = [*_HEADS[:4], *(["at full scale"] if full else []), *_HEADS[4:]]
    lines = [_line(heads), "|---" * len(heads) + "|"]
    for row in rows:
        other = at_full.get(row["id"], row)
        verdict = other["verdict"] if row["ours"] is None else row["verdict"]
        cells = [f"`{row['id']}`", row["where"], f"{row['printed']} {row['unit']}", _ours(row)]
        cells += [_ours(other)] if full else []
        lines.append(_line([*cells, row["class"], verdict, row["reason"]]))
    return "\n".join(lines)


def _ours(row):
    return "not run" if row["ours"] is None else shown(row["ours"])


def _line(cells):
    return "| " + " | ".join(" ".join(str(c).split()).replace("|", r"\|") for c in cells) + " |"
