"""The README states what the committed results state: counts of verdicts, and main results."""

import re
from collections import Counter

import pandas as pd
import pytest

from mfutils import paths
from mfutils.compendium import published

TEXT = (paths.ROOT / "README.md").read_text(encoding="utf-8")
VERDICTS = TEXT.partition("| section | printed values |")[2].partition("\n\n")[0].splitlines()[2:]


def counted(label):
    """Classes of the printed values that a row of the README speaks of."""
    dataset = "chen2021" if "study's data" in label else None
    if label.startswith("Table 4.2"):
        stems, wanted = ["01_2"], {"chen2021"}
    elif found := re.findall(r"\b(\d)\.(\d)\b", label):
        stems, wanted = [f"0{c}_{s}" for c, s in found], {None, dataset}
    else:
        stems, wanted = [f"0{label[0]}_"], {None, dataset}
    files = [p.stem for p in paths.PUBLISHED.glob("*.yaml") if p.stem.startswith(tuple(stems))]
    return Counter(v.kind for stem in files for v in published.load(stem) if v.dataset in wanted)


@pytest.mark.parametrize("line", VERDICTS, ids=lambda line: line.split("|")[1].strip())
def test_counts_of_verdicts(line):
    label, total, good, bad = (cell.strip() for cell in line.strip("|").split("|", 3))
    label += total[total.find("(") :] if "(" in total else ""
    kinds = counted(label)
    assert int(total.split()[0]) == sum(kinds.values())
    stated = {kind: int(n) for n, kind in re.findall(r"(\d+) (exact|trend)", good)}
    if stated:
        assert stated == {k: n for k, n in kinds.items() if k in ("exact", "trend")}
    else:
        assert good == "all hold"
        assert not kinds["not-reproducible"]
    if (first := re.match(r"(\d+):", bad)) is not None:
        assert int(first[1]) == kinds["not-reproducible"]


def full(stem, name):
    (folder,) = (paths.FIGURES / "full").glob(f"{stem}_*")
    return pd.read_csv(folder / f"{name}.csv")


def short(value, digits=3):
    return f"{value:.{digits}f}".lstrip("0")


def row(start):
    """Cells of the one table row of the README that starts so, without bold and spaces."""
    (line,) = [line for line in TEXT.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip().replace("*", "") for cell in line.strip("|").split("|")]


def test_section_3_1():
    table = full("03_1", "table_3_2").set_index("model")
    names = {"LR": "linear regression", "GPR": "Gaussian process", "MLP": "multilayer perceptron"}
    for model, name in names.items():
        ours = table.loc[model]
        _, printed, thesis, *sound = row(name)
        assert float(printed) == ours["printed MAE"]
        assert float(thesis) == round(ours["thesis, row MAE"], len(thesis.partition(".")[2]))
        assert sound == [f"{ours[f'sound, {part} MAE']:.1f}" for part in ("row", "composition")]


def test_table_4_1():
    found = full("04_1", "table_modern")
    sound = found[found["protocol"] == "maximum-likelihood"].set_index("method")
    names = {
        "HFDM": "hf-only", "additive": "additive", "multiplicative": "multiplicative",
        "comprehensive": "comprehensive", "AR(1)": "cokriging", "all of these averaged": "averaged",
    }  # fmt: skip
    for name, method in names.items():
        means = [f"{sound.loc[method, f'{kind} mean']:.3f}" for kind in ORDER]
        assert row(name)[3] == " / ".join(means)
    thesis = full("04_1", "table_4_1")
    for _, line in thesis.iterrows():
        start = {"AC": "additive", "MC": "multiplicative", "CC": "comprehensive"}
        printed = row(start.get(line["method"], line["method"]))[1].split(" / ")
        assert printed == [f"{line[kind]:.3f}" for kind in ORDER]


ORDER = ("additive", "multiplicative", "mixed")


def test_section_3_2():
    tests = ("experiment (ICSD)", "experiment (MP)")
    sets = full("03_2_model", "table_sets").query("network == 'CGCNN'")
    sets = sets.set_index(["test", "prediction"])["MAE"]
    fused = full("03_2_model", "table_fusion").query("rule == 'inverse-std'")
    fused = fused.set_index(["test", "fidelities"])["MAE (eV)"]
    multi = full("03_2_model", "table_multi").set_index(["test", "asked for"])["averaged: MAE"]
    order = ["SCAN", "HSE", "PBE", "GLLB-SC"]
    starts = (
        "one network: SCAN", "forty networks of four", "the same with", "ten HSE / ten PBE",
        "HSE and PBE fused", "networks for all fidelities",
    )  # fmt: skip
    for cells in zip(tests, *(row(start)[1:3] for start in starts), strict=True):
        test, *shown = cells
        assert shown == [
            " / ".join(short(sets[test, name], 2) for name in order),
            short(sets[test, "all fused"], 2),
            short(fused[test, " + ".join(order)], 2),
            " / ".join(short(sets[test, f"{name}, averaged"], 2) for name in ("HSE", "PBE")),
            short(sets[test, "HSE + PBE fused"], 2),
            short(multi[test, "HSE"], 2),
        ]
    baselines = full("03_2_model", "table_baselines").set_index("prediction")["MAE"]
    looked_up = [short(baselines[name], 2) for name in ("always 0", "looked up: PBE")]
    assert row("always 0")[1] == " / ".join(looked_up)
    claims = full("03_2_model", "table_claims").set_index(["test", "question"])
    for test, question in (
        (tests[0], "HSE + PBE against averaging HSE"), (tests[0], "all against averaging HSE"),
        (tests[1], "HSE + PBE against averaging PBE"),
    ):  # fmt: skip
        found = claims.loc[(test, question)]
        words = f"{found['difference (eV)']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
        assert words.replace("0.", ".") in TEXT


def test_section_5():
    table = full("05_4", "table_results").set_index("model")
    for start, model, baseline in (
        ("computed gaps of other", "no measured gaps: network and trees",
         "no measured gaps: network"),
        ("and measured gaps", "both kinds: crystal", "fine-tuned network"),
        ("and the computed gaps", "both kinds: known gaps", "largest known computed gap, else 0"),
    ):  # fmt: skip
        _, error, score, other = row(start)
        assert error == short(table.loc[model, "MAE (eV)"])
        assert other.split()[-1] == short(table.loc[baseline, "MAE (eV)"])
        crps = table.loc[model, "CRPS (eV)"]
        assert score == ("" if pd.isna(crps) else short(crps))
