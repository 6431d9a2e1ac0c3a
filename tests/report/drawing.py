"""Pictures as arrays, and their axes."""

from matplotlib import image


def drawn(function, *data, path):
    """The picture as an array [height, width, 4], checked to be alone in its folder."""
    function(*data, path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = image.imread(path)
    assert pixels[..., :3].std() > 0.03, "an empty page"
    return pixels


def axes_of(module, monkeypatch, path):
    """A function that draws a picture of `module` and returns its axes, from the top."""

    def draw(function, *data):
        figures = []
        monkeypatch.setattr(module, "save", lambda figure, _: figures.append(figure))
        function(*data, path)
        return figures[0].axes

    return draw
