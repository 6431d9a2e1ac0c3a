"""Whatever happens to a checkpoint's files, it is noticed, and an older one is used."""

import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocanet_jax.runtime.errors import Stopped, UserError
from mocanet_jax.runtime.storage import manifest
from mocanet_jax.train.checkpoints.checkpoint import Checkpoints
from mocanet_jax.train.checkpoints.inspection import SAVING, inspected
from tests.faults.test_stopping import stop_after
from tests.train import tiny
from tests.train.test_checkpoint import bits, progress, saved, state
from tests.train.test_loop import final_state, rows

FIRST, LAST = 2, 4


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A directory with two checkpoints, the older of which is better. Not to be changed."""
    return saved(tmp_path_factory.mktemp("run"), {FIRST: 0.1, LAST: 0.5})


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "copy")


def step_files(run, step=LAST):
    return sorted(p for p in (run / "checkpoints" / str(step)).rglob("*") if p.is_file())


def flip(path, place, bit):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


DAMAGES = ("flip", "truncate", "empty", "remove", "grow")


def damaged(path, kind, rng):
    size = path.stat().st_size
    if kind == "flip":
        flip(path, int(rng.integers(size)), int(rng.integers(8)))
    elif kind == "truncate":
        os.truncate(path, int(rng.integers(size)))
    elif kind == "empty":
        os.truncate(path, 0)
    elif kind == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_file_damaged_in_turn_is_noticed(run, tmp_path, kind):
    """Array storage silently restores flipped bits; a model would answer with them."""
    rng = np.random.default_rng(DAMAGES.index(kind))
    for number, file in enumerate(step_files(run)):
        for attempt in range(4 if kind == "flip" else 1):
            folder = tmp_path / f"{number}_{attempt}"
            shutil.copytree(run / "checkpoints" / str(LAST), folder)
            path = folder / file.relative_to(run / "checkpoints" / str(LAST))
            damaged(path, kind, rng)
            assert manifest.damage(folder) is not None, (path, kind)


@given(st.data())
@settings(max_examples=40)
def test_any_flipped_bit_is_noticed(run, data):
    file = data.draw(st.sampled_from(step_files(run)))
    place = data.draw(st.integers(0, file.stat().st_size - 1))
    bit = data.draw(st.integers(0, 7))
    flip(file, place, bit)
    try:
        assert manifest.damage(run / "checkpoints" / str(LAST)) is not None
    finally:
        flip(file, place, bit)


def test_sound_folders_are_sound(run):
    """A check that refuses everything would pass the others."""
    assert inspected(run).sound == [FIRST, LAST]
    assert inspected(run / "nothing").sound == []


def test_a_damaged_step_is_set_aside_and_the_newest_sound_one_used(copy):
    """Else training goes on from garbage, or does not go on at all; and what could still be
    looked into is lost."""
    damaged(step_files(copy)[-1], "empty", None)
    before = [path.read_bytes() for path in step_files(copy)]
    with Checkpoints(copy) as checkpoints:
        (line,) = checkpoints.set_aside
        assert line.startswith(f"checkpoint {LAST} cannot be used: ")
        assert line.endswith(f"moved to {copy}/damaged/{LAST}")
        assert checkpoints.latest_step() == checkpoints.best_step() == FIRST
        restored = checkpoints.restore(FIRST, state(0))
        assert bits(restored) == bits(state(FIRST))
        checkpoints.save(state(LAST), progress(), 0.4)
    assert inspected(copy).sound == [FIRST, LAST]
    moved = sorted(p for p in (copy / "damaged" / str(LAST)).rglob("*") if p.is_file())
    assert [path.read_bytes() for path in moved] == before


def test_readers_leave_a_damaged_step_where_it_is(copy):
    """A chat beside a training run must not move what the run is about to finish."""
    damaged(step_files(copy)[-1], "empty", None)
    with Checkpoints(copy, read_only=True) as checkpoints:
        assert len(checkpoints.set_aside) == 1
        assert checkpoints.steps() == [FIRST]
    assert (copy / "checkpoints" / str(LAST)).is_dir()


def test_with_no_sound_step_nothing_is_moved_and_every_reason_is_reported(copy):
    """Starting from scratch over a damaged run would take what is left of it."""
    damaged(step_files(copy, FIRST)[0], "remove", None)
    shutil.rmtree(copy / "checkpoints" / str(LAST))
    (copy / "checkpoints" / str(LAST)).mkdir()
    for read_only in (True, False):
        with pytest.raises(UserError) as error:
            Checkpoints(copy, read_only)
        assert f"{FIRST}: " in str(error.value)
        assert f"{LAST}: it has no manifest.json" in str(error.value)
        assert "\n" not in str(error.value)
    assert not (copy / "damaged").exists()


def test_another_layout_is_refused_by_its_number(copy):
    """An older version's arrays may have the same names and another meaning."""
    for step in (FIRST, LAST):
        path = copy / "checkpoints" / str(step) / manifest.NAME
        path.write_text(json.dumps(json.loads(path.read_text()) | {"layout": 0}))
    with pytest.raises(
        UserError, match=f"its layout is 0, and this version reads {manifest.LAYOUT}"
    ):
        inspected(copy)


def test_a_first_checkpoint_that_a_killed_process_was_writing_is_no_loss(run, tmp_path):
    """Between the last array and the manifest a kill leaves a step that looks whole; the run
    has to start again, without a report of damage."""
    folder = shutil.copytree(
        run / "checkpoints" / str(FIRST), tmp_path / "checkpoints" / str(FIRST)
    )
    (folder / manifest.NAME).unlink()
    (tmp_path / SAVING).write_text(str(FIRST))
    assert inspected(tmp_path).sound == []
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() is None
        checkpoints.save(state(FIRST), progress(), 0.1)
        assert checkpoints.steps() == [FIRST]
    assert not (tmp_path / SAVING).exists()


@pytest.mark.slow
def test_training_goes_on_from_the_newest_sound_step_and_ends_the_same(
    finished, tmp_path, monkeypatch
):
    """Damage costs time and nothing else: same parameters as without it, bit for bit."""
    workdir = tmp_path / "run"
    with monkeypatch.context() as patched:
        stop_after(patched, 3)
        with pytest.raises(Stopped):
            tiny.train(tiny.config(), workdir, tiny.console())
    damaged(step_files(workdir, 3)[-1], "flip", np.random.default_rng(0))
    console = tiny.console()
    tiny.train(tiny.config(), workdir, console)
    assert "checkpoint 3 cannot be used: " in tiny.printed(console)
    assert "resuming at step 2" in tiny.printed(console)
    ends = [final_state(folder, tiny.config()) for folder in (finished[0], workdir)]
    assert bits(ends[0]) == bits(ends[1])
    assert rows(finished[0]) == rows(workdir)
