"""What a study leaves: tables, JSON and a picture."""

import json

import pytest

from mocanet_jax.studies import study, study_report
from tests.studies.fake_runs import failed, outcome, variant

CONTROL, OTHER = variant("control"), variant("no_memory")
DYNAMIC = variant("dynamic_0.5", routing="dynamic", target_budget=0.5)
RANDOM = variant("random_0.5", routing="random", target_budget=0.5)
SMALLER = variant("smaller_0.5", routing="smaller", target_budget=0.5)
FIXED = variant("topk_2", routing="topk", top_k_experts=2)


def findings(variants, outcomes, num_seeds=2, overrides=None, equal=()):
    return study.Findings(
        "configs/copy.py",
        overrides or {},
        num_seeds,
        study.rows(variants, outcomes),
        list(equal),
        [one for one in outcomes if one.result is None],
    )


@pytest.fixture
def ablation():
    """Two seeds of each; of the second variant one failed."""
    outcomes = [
        outcome(CONTROL, 0, accuracy=0.90),
        outcome(CONTROL, 1, accuracy=0.92),
        outcome(OTHER, 0, accuracy=0.5),
        failed(OTHER, 1, "no such data"),
    ]
    overrides = {"model.experts.count": 8}
    return findings([CONTROL, OTHER], outcomes, overrides=overrides, equal=["no_location"])


def tables(text):
    """Rows of all tables as lists of cells."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_a_table_by_hand(ablation, tmp_path):
    study_report.write_ablation(ablation, tmp_path)
    text = (tmp_path / "ablation.md").read_text()
    head, _, control, other, *_ = tables(text)
    assert head == [
        "",
        "accuracy, %",
        "difference, points",
        "parameters",
        "FLOPs per token",
        "usage, % (experts, writes, reads)",
        "steps",
        "evaluated step",
        "seconds",
    ]
    cost = ["1,000", "3,000", "40 (25, 100, 50)", "200", "180", "20"]
    assert control == ["control", "91.00 (90.00 to 92.00)", "–", *cost]
    assert other == ["no_memory", "50.00", "-40.00", *cost]
    assert tables(text)[-2:] == [["control", "90.00", "92.00"], ["no_memory", "50.00", "–"]]
    assert text.startswith("# Ablations of configs/copy.py\n\nWith `model.experts.count=8`.\n")
    assert "Means over 2 seeds (lowest to highest seed)." in text
    assert "no_memory, seed 1 failed: no such data" in text
    assert "`no_location` equals the control with this config." in text


def test_one_seed_claims_no_range(tmp_path):
    study_report.write_ablation(findings([CONTROL], [outcome(CONTROL, 0)], 1), tmp_path)
    text = (tmp_path / "ablation.md").read_text()
    assert "50.00 |" in text
    assert "One seed, so no range" in text
    row = json.loads((tmp_path / "ablation.json").read_text())["rows"][0]
    assert row["accuracy"] == {"mean": 0.5, "range": [0.5, 0.5], "values": [0.5]}


def test_json_holds_every_seed(ablation, tmp_path):
    study_report.write_ablation(ablation, tmp_path)
    found = json.loads((tmp_path / "ablation.json").read_text())
    control, other = found["rows"]
    assert control["seeds"] == [0, 1]
    assert control["accuracy"]["values"] == [0.9, 0.92]
    assert control["accuracy"]["range"] == [0.9, 0.92]
    assert control["accuracy_minus_control"] is None
    assert other["accuracy_minus_control"]["mean"] == pytest.approx(-0.4)
    assert found["failed"] == [{"name": "no_memory", "seed": 1, "problem": "no such data"}]
    assert found["equal_to_control"] == ["no_location"]
    assert found["overrides"] == {"model.experts.count": 8}


def test_exact_match_is_shown_where_it_was_measured(tmp_path):
    outcomes = [outcome(CONTROL, seed, exact_match=0.25) for seed in range(2)]
    study_report.write_ablation(findings([CONTROL], outcomes), tmp_path)
    head, _, control, *_ = tables((tmp_path / "ablation.md").read_text())
    assert control[head.index("exact match, %")] == "25.00 (25.00 to 25.00)"


def test_accuracy_against_compute(tmp_path):
    outcomes = [
        outcome(DYNAMIC, 0, flops_per_token=2000),
        outcome(DYNAMIC, 1, flops_per_token=2000),
        outcome(FIXED, 0),
        outcome(FIXED, 1),
    ]
    study_report.write_budgets(findings([DYNAMIC, FIXED], outcomes), tmp_path)
    head, _, dynamic, fixed, *_ = tables((tmp_path / "frontier.md").read_text())
    assert head[:4] == ["routing", "accuracy, %", "FLOPs per token", "ms per step"]
    accuracy, speed = "50.00 (50.00 to 50.00)", "25.0 (25.0 to 25.0)"
    assert dynamic[:4] == ["dynamic, target 0.5", accuracy, "2,000 (2,000 to 2,000)", speed]
    assert fixed[:4] == ["fixed, K = 2", accuracy, "3,000 (3,000 to 3,000)", speed]
    row = json.loads((tmp_path / "frontier.json").read_text())["rows"][0]
    assert (row["name"], row["target_budget"]) == ("dynamic_0.5", 0.5)


def test_language_models_are_compared_by_bits(tmp_path):
    """Their accuracy says little; fewer bits are better, and the difference has its sign."""
    of = lambda which, bits: outcome(which, 0, bits_per_character=bits)
    outcomes = [of(CONTROL, 2.0), of(OTHER, 2.125)]
    study_report.write_ablation(findings([CONTROL, OTHER], outcomes, 1), tmp_path)
    head, _, control, other, *_ = tables((tmp_path / "ablation.md").read_text())
    assert head[:3] == ["", "bits per character", "difference, bits"]
    assert (control[1:3], other[1:3]) == (["2.0000", "–"], ["2.1250", "+0.1250"])
    row = json.loads((tmp_path / "ablation.json").read_text())["rows"][1]
    assert row["bits_per_character_minus_control"]["mean"] == pytest.approx(0.125)


@pytest.mark.parametrize("kind", ["ablation", "one seed", "frontier", "one series"])
def test_pictures_are_whole_and_900_pixels_wide_or_more(kind, ablation, tmp_path):
    """Whatever is missing; a title, a label or a bar that cannot be drawn would warn."""
    if kind == "ablation":
        study_report.write_ablation(ablation, tmp_path)
    elif kind == "one seed":
        study_report.write_ablation(findings([OTHER], [outcome(OTHER, 0)], 1), tmp_path)
    else:
        variants = [DYNAMIC, FIXED, RANDOM, SMALLER] if kind == "frontier" else [DYNAMIC]
        outcomes = [outcome(one, 0) for one in variants]
        study_report.write_budgets(findings(variants, outcomes, 1), tmp_path)
    (picture,) = tmp_path.glob("*.png")
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert int.from_bytes(data[16:20]) >= 900
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".md", ".png"]
