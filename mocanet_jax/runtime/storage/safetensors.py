"""Named arrays in one file that most tools can read.

The safetensors format (github.com/huggingface/safetensors, "Format"): eight bytes with the
length of the header, little-endian; the header, a JSON object that gives every array's dtype,
shape and place among the bytes that follow; then the arrays, little-endian, row by row, without
gaps. The header is padded with spaces, so that the arrays are aligned.
"""

import json
from pathlib import Path

import numpy as np

DTYPES = {"int32": "I32", "float16": "F16", "float32": "F32", "float64": "F64"}
"""The format's names of those dtypes that parameters have."""

ALIGNMENT = 8
"""Bytes. No dtype is wider."""


def save(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """metadata: texts that describe the whole. Raises ValueError for a dtype not in DTYPES."""
    header, contents, end = {"__metadata__": metadata}, [], 0
    # Widest first, so that each array starts at a multiple of its own width.
    for name in sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name)):
        array = arrays[name]
        if array.dtype.name not in DTYPES:
            raise ValueError(f"{name}: arrays of {array.dtype} cannot be saved")
        content = array.astype(array.dtype.newbyteorder("<")).tobytes()
        start, end = end, end + len(content)
        header[name] = {
            "dtype": DTYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
        contents.append(content)
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    path.write_bytes(b"".join([len(text).to_bytes(8, "little"), text, *contents]))


def load(content: bytes) -> dict[str, np.ndarray]:
    """Of a file that `save` wrote. Raises ValueError for what is no such file."""
    size = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + size])
        header.pop("__metadata__", None)
        return {name: _array(content[8 + size :], entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a file of safetensors, or damaged") from error


def _array(data, entry):
    dtype = next(np.dtype(name) for name, code in DTYPES.items() if code == entry["dtype"])
    start, end = entry["data_offsets"]
    found = np.frombuffer(data[start:end], dtype.newbyteorder("<"))
    return found.astype(dtype).reshape(entry["shape"])
