"""Files of one's own labelled texts, in the forms in which people keep them: read as what they
are, or refused in one line that says what to do.

To add a case is to add a line to a table.
"""

import gzip
import lzma

import pytest

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.text.own_files import Form, ordered, read_rows, read_texts, split_files

PLAIN = Form("", "", "")
CSV = "text,label\ncafé late,good\nso slow,bad\n"
ROWS = [("café late", "good"), ("so slow", "bad")]
QUOTED = [('a "fine", slow\nfilm', "good"), ("dull", "bad")]

READ = {
    "CSV": (CSV, ROWS),
    "CRLF": (CSV.replace("\n", "\r\n"), ROWS),
    "CR": (CSV.replace("\n", "\r"), ROWS),
    "BOM": ("\ufeff" + CSV, ROWS),
    "UTF-16 with a mark": (CSV.encode("utf-16"), ROWS),
    "UTF-16 with a mark and CRLF": (CSV.replace("\n", "\r\n").encode("utf-16"), ROWS),
    "gzip": (gzip.compress(CSV.encode()), ROWS),
    "xz": (lzma.compress(CSV.encode()), ROWS),
    "semicolons": (CSV.replace(",", ";"), ROWS),
    "tabs": (CSV.replace(",", "\t"), ROWS),
    "bars": (CSV.replace(",", "|"), ROWS),
    "no last line end": (CSV.removesuffix("\n"), ROWS),
    "blank rows": (CSV.replace("\nso", "\n\n,\nso") + ",\n\n", ROWS),
    "spaces": (CSV.replace("text,", " text , ").replace(",", ", "), ROWS),
    "capitals": (CSV.replace("text,label", "Text,LABEL"), ROWS),
    "label first": ("class,review\ngood,café late\nbad,so slow\n", ROWS),
    "further columns": (
        "id,topic,sentence,x\n1,good,café late,\n2,bad,so slow,3\n",
        ROWS,
    ),
    "empty fields behind": (CSV.replace("d\n", "d,,\n"), ROWS),
    "an unusual name of two": ("text,mood\ncafé late,good\nso slow,bad\n", ROWS),
    "another unusual name of two": (
        "body of mail,category\ncafé late,good\nso slow,bad\n",
        ROWS,
    ),
    "quotes and line ends": ('text,label\n"a ""fine"", slow\nfilm",good\ndull,bad\n', QUOTED),
    "tabs, quotes and line ends": (
        'text\tlabel\n"a ""fine"", slow\nfilm"\tgood\ndull\tbad\n',
        QUOTED,
    ),
    "tabs, quotes of the text": (
        'text\tlabel\n"fine" film\tgood\n"dull\tbad\n',
        [('"fine" film', "good"), ('"dull', "bad")],
    ),
    "a semicolon in a text": (
        "text,label\na; b; c,good\nd,bad\n",
        [("a; b; c", "good"), ("d", "bad")],
    ),
    "JSON Lines": (
        '{"text": "café late", "label": "good"}\n\n{"label": "bad", "text": "so slow"}\n',
        ROWS,
    ),
    "JSON Lines, numbers": (
        '{"text": "a", "label": 1}\n{"text": "b", "label": true, "more": [1]}\n',
        [("a", "1"), ("b", "true")],
    ),
    "labels of several words": (
        "text,label\na, too  late \nb,0\n",
        [("a", "too late"), ("b", "0")],
    ),
}


def write(tmp_path, content):
    file = tmp_path / "train.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize("form", READ)
def test_a_file_is_read_as_what_it_is(tmp_path, form):
    """Otherwise a text meets another label, or rows of a common export are lost."""
    content, expected = READ[form]
    file = write(tmp_path, content)
    rows = read_rows(file, PLAIN)
    assert [*zip(rows.texts, rows.labels, strict=True)] == expected
    if "mood" not in str(content) and "mail" not in str(content):
        assert read_texts(file, PLAIN) == [text for text, _ in expected]


REFUSED = {
    "Latin-1": (
        CSV.encode("latin-1"),
        ": not UTF-8 at byte 14; pass its encoding, as --config.",
    ),
    "UTF-16 without a mark": (CSV.encode("utf-16-le"), "UTF-16 without a byte order mark"),
    "zip": (b"PK\x03\x04...", ": it is a zip archive"),
    "gzip that is cut off": (gzip.compress(CSV.encode())[:-12], ": it is damaged or cut off"),
    "nothing": ("", ": the file is empty"),
    "a header alone": ("text,label\n", ": there is no text in it"),
    "texts without a word alone": ('text,label\n" ",a\n', ": there is no text in it"),
    "no header": (
        "good film,1\nbad,0\n",
        ": which column is the text? The columns are 'good film'",
    ),
    "a column twice": (
        "text,label,label\na,b,c\n",
        ": the column 'label' is there more than once",
    ),
    "a column twice but for its letters": (
        "Label,label,text\na,b,c\n",
        ": the column 'label' is there more than once",
    ),
    "unusual names": ("id,x,y\n1,a,b\n", "pass --config.data.text_column=NAME"),
    "no labels": (
        "id,x,text\n1,a,b\n",
        ": which column is the label? The columns are 'id', 'x',",
    ),
    "a comma too many": (CSV + "no, no,bad\n", ", line 4: 3 columns, and the header has 2"),
    "a field too few": (CSV + "no\n", ", line 4: 1 columns, and the header has 2"),
    "an empty label": (CSV + "no, \n", ", line 4: the label in the column label is empty"),
    "a quote inside of quotes": (CSV + '"so "so"",bad\n', ", line 4: ',' expected after"),
    "an open quote": (
        CSV + '"so so,bad\n',
        ", line 4: unexpected end of data; inside of quotes",
    ),
    "broken JSON": ('{"text": "a", "label": 1}\n{"text"\n', ", line 2: not JSON: '{\"text\"'"),
    "JSON that is no object": (
        '{"text": "a", "label": 1}\n[1]\n',
        ", line 2: not a JSON object",
    ),
    "JSON without a label": (
        '{"text": "a", "label": 1}\n{"text": "b"}\n',
        ", line 2: the label",
    ),
    "a number as text": ('{"text": 1, "label": 1}\n', ", line 1: text is not a text: 1"),
    "several labels": ('{"text": "a", "label": ["x"]}\n', ", line 1: label is not one label"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, form):
    """Whoever has to mend one line of thousands needs its number, and the way out."""
    content, reason = REFUSED[form]
    file = write(tmp_path, content)
    with pytest.raises(UserError) as error:
        read_rows(file, PLAIN)
    message = str(error.value)
    assert message.startswith(str(file))
    assert reason in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_an_encoding_that_is_named_is_used(tmp_path, encoding):
    """The line that refuses the file would send its reader in a circle."""
    file = write(tmp_path, CSV.encode(encoding))
    assert read_rows(file, Form("", "", encoding)).texts[0] == "café late"
    with pytest.raises(UserError, match=r"encoding='latin': Python knows no such|not utf-8"):
        read_rows(file, Form("", "", "utf-8"))
    with pytest.raises(UserError, match=r"config\.data\.encoding='no': Python knows no such"):
        read_rows(file, Form("", "", "no"))


def test_columns_are_those_that_are_named(tmp_path):
    """Otherwise a table with several texts trains on the wrong one."""
    file = write(tmp_path, "text,title,label,Mood\na,b,c,d\n")
    assert read_rows(file, PLAIN).columns == ("text", "label")
    chosen = read_rows(file, Form("title", "mood", ""))
    assert (chosen.texts, chosen.labels) == (["b"], ["d"])
    with pytest.raises(
        UserError, match=r"no column 'titel', the text; .* did you mean 'title'\?"
    ):
        read_rows(file, Form("titel", "", ""))
    with pytest.raises(UserError, match="'text' cannot be both text and label"):
        read_rows(file, Form("text", "text", ""))
    trained = read_rows(file, Form("", "", "", ("title", "Mood")))
    assert (trained.texts, trained.labels) == (["b"], ["d"]), "as in training, if it is there"
    assert read_rows(file, Form("", "", "", ("x", "y"))).texts == ["a"]


def test_texts_without_a_word_are_left_out_and_named(tmp_path):
    """A row of nothing but padding has no class; its line is for a warning."""
    rows = read_rows(write(tmp_path, CSV + " ,good\n<br>,bad\nfine,good\n"), PLAIN)
    assert rows.empty == [4, 5]
    assert rows.lines == [2, 3, 6]
    assert rows.labels == ["good", "bad", "good"]


def test_lines_are_counted_where_a_row_begins(tmp_path):
    """A field of several lines would shift every number behind it."""
    file = write(tmp_path, 'text,label\n"a\nb\nc",x\nd,\n')
    with pytest.raises(UserError, match="line 5: the label"):
        read_rows(file, PLAIN)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"10", "9", "-1"}, ("-1", "9", "10")),
        ({"2.5", "10", "1"}, ("1", "2.5", "10")),
        ({"1", "01", "1.0"}, ("01", "1", "1.0")),
        ({"b", "a", "B"}, ("B", "a", "b")),
        ({"10", "9", "x"}, ("10", "9", "x")),
        ({"nan", "10", "9"}, ("10", "9", "nan")),
    ],
)
def test_labels_are_in_the_order_of_numbers_or_of_letters(names, expected):
    """Otherwise the rows of a confusion matrix of stars go 1, 10, 2, or differ between runs."""
    assert ordered(names) == expected


@pytest.mark.parametrize(
    "names",
    [
        ("train.csv", "valid.csv", "test.csv"),
        ("train.tsv", "dev.tsv", "test.tsv"),
        ("Train.jsonl", "validation.csv.gz", "test.tsv.xz"),
        ("news.train.csv", "news_val.csv", "news-test.csv"),
    ],
)
def test_the_files_of_a_folder_are_found_by_their_names(tmp_path, names):
    for name in (*names, "notes.txt", "trained.csv", "train.csv.bak"):
        (tmp_path / name).touch()
    found = split_files(str(tmp_path))
    assert {split: file.name for split, file in found.items()} == dict(
        zip(("train", "valid", "test"), names, strict=True)
    )


def test_a_folder_that_leaves_open_what_is_meant_is_refused(tmp_path):
    """One of two files would be left out silently."""
    for path, reason in (("", "no data given; pass --config.data.path=DIR"),):
        with pytest.raises(UserError, match=reason):
            split_files(path)
    with pytest.raises(UserError, match=r"no file to train on; .* \(it holds no file\)"):
        split_files(str(tmp_path))
    (tmp_path / "reviews.csv").touch()
    with pytest.raises(UserError, match=r"\(it holds reviews\.csv\); a single file"):
        split_files(str(tmp_path))
    for name in ("train.csv", "dev.csv", "valid.csv"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"split valid: dev\.csv, valid\.csv; leave one"):
        split_files(str(tmp_path))
    file = tmp_path / "reviews.csv"
    assert split_files(str(file)) == {"train": file}
