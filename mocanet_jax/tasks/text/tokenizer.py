"""English as a person types it, turned into the tokens that SST-2 is written in.

    input   Don't waste $20 on "Jaws 4"… it's (sadly) well-made, Mr. Smith!! 👎
    tokens  do n't waste $ 20 on `` jaws 4 '' ... it 's ( sadly ) well-made , mr. smith !
            thumbs down sign

The form is Penn Treebank tokenisation (Marcus et al., 1993) in lower case, as the released
sentences show it; where they write one thing in several ways the commonest is produced and the
others are left as they stand. Every row of train.tsv and dev.tsv comes back unchanged.

A model knows only the spellings of its training data, so that what people type otherwise is
rewritten to them: runs of "!" or "?" are cut to one, ":)" and ":(" become "smile" and "sad", an
emoji becomes its Unicode name. Words keep the letters they are typed with ("sooooo" is a word
of the data). Tags such as <b> are spaces.

The first use checks some sentences whose tokens are known: some releases of Python have regular
expressions that silently match wrongly.
"""

import re
import sys
from functools import cache, lru_cache
from unicodedata import category, name, normalize

SPELLED = {
    **dict.fromkeys("‘’‚‛‹›ʼ′´", "'"),
    **dict.fromkeys("“„‟«", " `` "),
    **dict.fromkeys("”»", " '' "),
    **dict.fromkeys("–—―", " -- "),
    **dict.fromkeys("‐−", "-"),
    **dict.fromkeys("[{", "("),
    **dict.fromkeys("]}", ")"),
    **dict.fromkeys("\ufffc\ufffd", " "),  # stand-ins for what could not be decoded
    "⁄": "/",
    "½": " 1/2",
}

# One mark at a time: normalising a long run of marks takes quadratic time.
ACCENTED = re.compile(r"[^\W_][\u0300-\u036f]")
RANGE = re.compile(r"(?<=\d)–(?=\d)")
TAG = re.compile(r"<(?:!--|[!/]?[a-z])[^<>]*>")
OPENING_QUOTE = re.compile(r'(?<![^\s(-])"(?=\S)')

# A word or a contraction ends where no letter or digit follows, or before an n't.
END = r"(?:(?![^\W_])|(?=n't))"
LETTERS = r"(?:[^\W_n]|n(?!'t))+"

# Read left to right, the first alternative that fits. What is taken must be taken whole when it
# stands alone, too: that is what makes a line of tokens its own tokenisation. Runs end with a
# look-ahead rather than with a possessive quantifier, which Python 3.11.0 to 3.11.4 gets wrong.
TOKEN = re.compile(
    rf"""
    (?=[^\W_])(?:
        (?:https?://|www\.)[^\s<>]*[\w/]
      | n't
      | (?: can(?=not{END}) | (?:gon|wan)(?=na{END}) | got(?=ta{END}) )
      | [a-z](?:\.[a-z])+{END}(?:\.(?!\.))?              # u.s.  j.r.r.
      | [b-hj-z]\.(?!\.){END}                            # jason x., but not "so am i."
      | [a-z]&[a-z]{END}                                 # r&d, but lilo & stitch
      | (?:mr|mrs|ms|dr|jr|sr|st|prof|vs|etc|inc|co|bros|sept)\.(?!\.)(?=\s*\S)
      | no\.(?=\s*\d) | (?:al|wash)\.(?=\s*,)           # ordinary words elsewhere
      | anti-(?!\S) | ol'{END}
      | {LETTERS}
        (?: (?: - | \\?/
              | '(?!(?:s|d|m|ll|re|ve){END})             # o'fallon, but it 's
              | \.(?=(?:com|net|org){END})
              | (?<=\d)(?:\.(?=\d) | ,(?=\d{{3}}(?!\d)))  # 1.8  10,000
            )
            {LETTERS}
        )*
    )
    | '(?: (?:em|til|n'?|\d\ds?){END} | (?:s|d|m|ll|re|ve){END} )
    | (?P<single_quote> (?<![^\s(-])'(?=[^\W_]) )
    | (?P<double_quote> (?<![^\s(-])''(?=[^\W_]) )
    | '' | ``
    | (?P<ellipsis> \.\.+ )
    | (?P<smile> [:;]-?\)+ | (?<!\S)[:;]-?d{END} )
    | (?P<sad> [:;]'?-?\(+(?!\(){END} )
    | (?P<exclaimed> !+(?![!?]) )
    | (?P<question> \?+(?![!?]) )
    | (?P<question_first> \?[!?]+ )
    | (?P<exclaimed_first> ![!?]+ )
    | -[lr]rb-
    | (?P<dash> --+ )
    | \*+ | \\/ | \S
    """,
    re.VERBOSE,
)
REWRITTEN = {
    "smile": "smile",
    "sad": "sad",
    "ellipsis": "...",
    "dash": "--",
    "exclaimed": "!",
    "question": "?",
    "question_first": "?!?",  # the two mixed runs that the data has
    "exclaimed_first": "!?",
    "double_quote": "``",
    "single_quote": "`",
}


KNOWN = {
    "a film": "a film",
    "I don’t like “Jaws 4”… cannot!!": "i do n't like `` jaws 4 '' ... can not !",
    "Mr. O'Fallon's well-made 1,000.50-dollar U.S. debut?!": (
        "mr. o'fallon 's well-made 1,000.50-dollar u.s. debut ?!?"
    ),
    "so-so :-)) :((": "so-so smile sad",
    "isn't it (really) good--bad??": "is n't it ( really ) good -- bad ?",
}
"""Some sentences, and their tokens."""


def tokenize(text: str) -> list[str]:
    """Tokens of `text`: lower case, none empty, none with white space in it.

    Any string is accepted, lone surrogates and control characters included, and takes time in
    proportion to its length. Tokens joined by spaces give the same tokens again.

    Raises RuntimeError in a Python that gets its tokens wrong.
    """
    if fault := interpreter_fault():
        raise RuntimeError(fault)
    return _tokens(text)


@cache
def interpreter_fault() -> str | None:
    """What this Python gets wrong, in one line; None where nothing is known."""
    for text, tokens in KNOWN.items():
        if (found := _tokens(text)) != tokens.split(" "):
            return (
                f"Python {sys.version.split()[0]} tokenizes {text!r} wrongly, as {found}; use "
                "another release of Python"
            )
    return None


def _tokens(text):
    text = ACCENTED.sub(lambda match: normalize("NFC", match[0]), text)
    text = RANGE.sub("-", text)
    text = "".join(map(_plain, text))
    text = TAG.sub(" ", text)
    text = OPENING_QUOTE.sub(" `` ", text).replace('"', " '' ")
    return [REWRITTEN.get(match.lastgroup, match[0]) for match in TOKEN.finditer(text)]


@lru_cache(maxsize=4096)
def _plain(char: str) -> str:
    """What stands for one character: itself, another spelling, a name, a space or nothing."""
    if char in SPELLED:
        return SPELLED[char]
    kind = category(char)
    if kind == "So":
        return f" {name(char, '').lower()} "
    folded = normalize("NFKC", char).lower()
    if folded != char and kind != "Sk":
        return "".join(map(_plain, folded))
    if kind[0] == "M" or kind == "Cf" or (kind == "Sk" and not char.isascii()):
        return ""  # accents left over, selectors, joiners, text directions, skin tones
    return " " if kind[0] in "CZ" else char
