"""The tokenizer: raw English takes the form of SST-2, and that form comes out unchanged."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mocanet_jax.tasks.text.tokenizer import tokenize

CONTRACTIONS = {
    "I don't": "i do n't",
    "isn't it": "is n't it",
    "CAN'T": "ca n't",
    "won't": "wo n't",
    "cannot": "can not",
    "it's": "it 's",
    "I'm": "i 'm",
    "they've": "they 've",
    "we'll": "we 'll",
    "he'd": "he 'd",
    "you're": "you 're",
    "couldn't've": "could n't 've",
    "gonna wanna gotta": "gon na wan na got ta",
    "dont": "dont",
    "don’t, don´t": "do n't , do n't",
    "Peter O'Fallon's": "peter o'fallon 's",
    "the movies' end": "the movies ' end",
    "haul 'em": "haul 'em",
    "rock 'n' roll": "rock 'n' roll",
}
QUOTES = {
    "a so-called 'comedy'": "a so-called ` comedy '",
    'so "funny"': "so `` funny ''",
    "“Simone” is ‘solid’": "`` simone '' is ` solid '",
    '("Lilo")': "( `` lilo '' )",
    '"Frailty," he said.': "`` frailty , '' he said .",
    "''quoted''": "`` quoted ''",
}
PUNCTUATION = {
    "Great!!": "great !",
    "why???": "why ?",
    "what?!": "what ?!?",
    "wow!?!": "wow !?",
    "good,bad": "good , bad",
    "end.Start": "end . start",
    "The end.": "the end .",
    "(really)": "( really )",
    "[sic]": "( sic )",
    "-lrb- serry -rrb-": "-lrb- serry -rrb-",
    "well…": "well ...",
    "well.. hmm....": "well ... hmm ...",
    "this—that – those--these": "this -- that -- those -- these",
    "well-made": "well-made",
    "career - kids": "career - kids",
    "anti- castro": "anti- castro",
    "and/or": "and/or",
    "s***": "s ***",
    "R&D, Lilo&Stitch": "r&d , lilo & stitch",
}
NUMBERS = {
    "$20": "$ 20",
    "100%": "100 %",
    "#9": "# 9",
    "3.5/5, 10/10.": "3.5/5 , 10/10 .",
    "2½ hours": "2 1/2 hours",
    "10,000 or 3,5": "10,000 or 3 , 5",
    "1995's 20th": "1995 's 20th",
    "the 90's": "the 90 's",
    "the ’90s, the 1970s": "the '90s , the 1970s",
    "1990–1995": "1990-1995",
}
ABBREVIATIONS = {
    "Mr. Smith": "mr. smith",
    "in the U.S.": "in the u.s.",
    "J.R.R. Tolkien": "j.r.r. tolkien",
    "Jason X. Was I. No.": "jason x. was i . no .",
    "spy vs. spy, etc., etc.": "spy vs. spy , etc. , etc .",
    "No. 1": "no. 1",
    "see www.example.org/a?b=1.": "see www.example.org/a?b=1 .",
    "feardotcom.com": "feardotcom.com",
}
SYMBOLS = {
    "👎": "thumbs down sign",
    "so👍🏽good": "so thumbs up sign good",
    "❤️": "heavy black heart",
    "👩\u200d🚀": "woman rocket",
    "fun :) dull :-(": "fun smile dull sad",
    "sooooo": "sooooo",
    "Cliché, cliche\u0301": "cliché , cliché",
    "ＧＯＯＤ": "good",
}
HOSTILE = {
    "": "",
    " \t\r\n\u2028\u00a0": "",
    "a\0b\x1bc\x85d": "a b c d",
    "bad\ud800 \udfffmovie": "bad movie",
    "<b>great</b><br/>film <!-- x --> 1 < 2": "great film 1 < 2",
    "\u202egood\u202c \ufefffil\u00adm": "good film",
    "z\u0301\u0316\u0300a\u0335\u0336lgo": "źalgo",
}
TABLE = CONTRACTIONS | QUOTES | PUNCTUATION | NUMBERS | ABBREVIATIONS | SYMBOLS | HOSTILE

# What the rules look at, so that random texts meet them.
FRAGMENTS = """n't 's 're 'em 'n' '90s ' '' " ` `` ’ “ . .. … , ; : :) :( ! ? ( ) [ < <b> >
    / \\/ \\ - -- – — * _ & no no. mr. al. etc. anti- ol' -lrb- u.s. a x n s t d 5 000 can not
    cannot gonna gotta http:// www. .com ½ 👎 é \u0301 \u200d İ ŉ Σ ᄀ ᅡ \ud800"""
TEXTS = st.text(st.characters()) | st.lists(
    st.sampled_from([*FRAGMENTS.split(), " ", "\0"])
).map("".join)


@pytest.mark.parametrize(("raw", "line"), TABLE.items())
def test_raw_text_becomes_a_line_of_the_data(raw, line):
    assert " ".join(tokenize(raw)) == line


@given(TEXTS)
@example("t'sn't")  # a contraction before another
@example("it's_ cannot_ '90sn't")  # a neighbour that becomes a token of its own
@example("www.x<b <c> d>")  # a tag that only closes once another is gone
@example("ᄀ\u0301ᅡ e\u200d\u0301")  # letters that meet once what is between them is dropped
@settings(max_examples=300)
def test_tokens_joined_by_spaces_are_their_own_tokenisation(text):
    tokens = tokenize(text)
    assert tokenize(" ".join(tokens)) == tokens


@given(TEXTS)
@settings(max_examples=300)
def test_tokens_are_lower_case_words_without_white_space_or_control_characters(text):
    for token in tokenize(text):
        assert token.split() == [token]
        assert token == token.lower()
        assert token.isprintable()


@pytest.mark.parametrize("char", ["a", '"', "<", "'", ".", "\u0301"])
def test_a_long_run_of_one_character_comes_to_an_end(char):
    tokens = tokenize(char * 200_000)
    assert len(tokens) <= 200_000
    assert len(set(tokens)) <= 2


@pytest.mark.skipif("MOCANET_SST2" not in os.environ, reason="MOCANET_SST2 names no folder")
@pytest.mark.parametrize("split", ["train", "dev"])
def test_every_row_of_the_data_comes_back_unchanged(split):
    path = Path(os.environ["MOCANET_SST2"], f"{split}.tsv")
    _, *rows = path.read_text(encoding="utf-8").splitlines()
    sentences = [row.split("\t")[0] for row in rows]
    assert len(sentences) > 800
    assert [row for row in sentences if tokenize(row) != row.split()] == []
