"""Files that are whole or not there."""

import json

import pytest

from mocanet_jax.files import write_json


def test_json_is_replaced_whole(tmp_path):
    """A value that cannot be written leaves the earlier file as it was."""
    path = tmp_path / "result.json"
    write_json(path, {"steps": 3})
    assert json.loads(path.read_text()) == {"steps": 3}
    with pytest.raises(TypeError):
        write_json(path, {"steps": object()})
    assert json.loads(path.read_text()) == {"steps": 3}
    assert list(tmp_path.iterdir()) == [path]
