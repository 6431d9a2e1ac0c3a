"""Commands under any environment, paths, files and flags together: each works, or says in one
line why not, and nothing is lost. A case that fails is run again by its number:

    FUZZ_FIRST=NUMBER FUZZ_CASES=1 launch/test.sh tests/faults/test_fuzz_commands.py -m slow
"""

import json
import os

import pytest

from tests.faults import fuzz
from tests.faults.fuzz_tables import RUNS
from tests.processes import python

FEW = 30
MANY = int(os.environ.get("FUZZ_CASES", 5000))
FIRST = int(os.environ.get("FUZZ_FIRST", 0))


@pytest.fixture(scope="module")
def material(finished, finished_text, finished_language, corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    runs = (finished, finished_text, finished_language)
    runs = {kind: run[0] for kind, run in zip(RUNS, runs, strict=True)}
    fuzz.prepare(folder, runs, corpus)
    return folder


def failed(material, first, count):
    done = python(
        "-m", "tests.faults.fuzz", str(material), str(first), str(count), cwd=material
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.integration
def test_a_few_commands_work_or_are_refused(material):
    assert failed(material, 0, FEW) == []


@pytest.mark.slow
def test_thousands_of_commands_work_or_are_refused(material):
    assert failed(material, FIRST, MANY) == []
