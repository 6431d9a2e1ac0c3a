"""Files of named arrays, read byte by byte as the format is written down."""

import json

import ml_dtypes
import numpy as np
import pytest

from mocanet_jax.runtime.storage import safetensors

ARRAYS = {
    "layer.kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "layer.bias": np.float16([0.5]),
    "count": np.int32([[7]]),
    "price": np.array(2.5, np.float64),
    "swapped": np.array([1.5, -2.0], ">f4"),
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "none": np.zeros((0, 4), np.float32),
}
READ_AS = {"I32": "<i4", "F16": "<f2", "F32": "<f4", "F64": "<f8"}


def parts(path):
    """The header, and the bytes after it."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def test_every_array_is_found_where_the_header_says(tmp_path):
    """Otherwise another program reads other weights, or none."""
    safetensors.save(tmp_path / "file", ARRAYS, {"step": "3"})
    header, data = parts(tmp_path / "file")
    assert header.pop("__metadata__") == {"step": "3"}
    assert set(header) == set(ARRAYS)
    for name, array in ARRAYS.items():
        start, end = header[name]["data_offsets"]
        found = np.frombuffer(data[start:end], READ_AS[header[name]["dtype"]])
        np.testing.assert_array_equal(found.reshape(header[name]["shape"]), array)


def test_the_bytes_are_laid_out_as_readers_demand(tmp_path):
    """Readers refuse gaps and overlaps, and map arrays into memory where they lie."""
    safetensors.save(tmp_path / "file", ARRAYS, {})
    header, data = parts(tmp_path / "file")
    assert (len((tmp_path / "file").read_bytes()) - len(data)) % 8 == 0
    del header["__metadata__"]
    places = sorted((entry["data_offsets"], name) for name, entry in header.items())
    end = 0
    for (start, stop), name in places:
        assert start == end
        assert start % ARRAYS[name].dtype.itemsize == 0
        end = stop
    assert end == len(data)


def test_an_unknown_dtype_is_refused(tmp_path):
    """Otherwise its numbers are read as something else."""
    with pytest.raises(ValueError, match="kernel: arrays of bfloat16 cannot be saved"):
        safetensors.save(tmp_path / "file", {"kernel": np.zeros(2, ml_dtypes.bfloat16)}, {})
    assert not (tmp_path / "file").exists()


def test_what_was_saved_is_loaded(tmp_path):
    """With its dtype, in the machine's byte order."""
    safetensors.save(tmp_path / "file", ARRAYS, {"step": "3"})
    found = safetensors.load((tmp_path / "file").read_bytes())
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0[1, 2]  ", b"no such file"])
def test_another_file_is_refused(content):
    with pytest.raises(ValueError, match="not a file of safetensors"):
        safetensors.load(content)
