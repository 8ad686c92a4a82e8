"""The page "printed beside ours": what `make check` prints, with its reasons."""

from mfutils.published import shown

__all__ = ["printed_page"]

_HEADS = ("value", "where", "printed", "ours", "class", "verdict", "reason")


def printed_page(rows: list[dict], *, profile: str) -> str:
    """Markdown with one table per notebook; rows come from `published.check(profile)`."""
    good = sum(bool(row["ok"]) for row in rows)
    lines = [
        "# Printed beside ours\n",
        f"{len(rows)} values, {good} of them as their class asks, profile `{profile}`. `exact`: "
        "equal to the printed digits. `spread`: inside the range of our seeds. `trend`: the "
        "ordering or sign holds. `not-reproducible`: the last column says why.",
    ]
    for stem in sorted({row["notebook"] for row in rows}):
        lines += [f"\n## {{doc}}`notebooks/{stem}`\n", _line(_HEADS), "|---" * len(_HEADS) + "|"]
        for row in (row for row in rows if row["notebook"] == stem):
            printed = f"{row['printed']} {row['unit']}"
            cells = [f"`{row['id']}`", row["where"], printed, shown(row["ours"])]
            lines.append(_line([*cells, row["class"], row["verdict"], row["reason"]]))
    return "\n".join(lines) + "\n"


def _line(cells):
    return "| " + " | ".join(" ".join(str(c).split()).replace("|", r"\|") for c in cells) + " |"
