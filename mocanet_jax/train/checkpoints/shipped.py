"""Models that come with the package, by name; each has a model card beside it, README.md."""

from pathlib import Path

from mocanet_jax.train.checkpoints.record import is_packed

FOLDER = Path(__file__).parents[2] / "models"


def names() -> list[str]:
    return sorted(folder.name for folder in FOLDER.glob("*") if is_packed(folder))


def place(workdir: Path) -> Path:
    """`workdir`; where nothing is there, and it is the name of a model that comes with the
    package or the default directory of a run of that name, the folder of that model."""
    if workdir.exists():
        return workdir
    for name in names():
        if workdir in (Path(name), Path("runs", name)):
            return FOLDER / name
    return workdir
