"""The packages speak the field's language: each private word stands here beside the one that a reader knows.

Checked are identifiers (split at _ and capitals), comments, docstrings and every other string.
"""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT

#: What is checked, below the repository's root.
PACKAGES = ("snf_lite", "book/snf_book")

#: Words (a regular expression, any case, whole words) -> what to write instead. An identifier is checked part by part.
WORDS = {
    r"pictures?|pictured": "image (data), figure (plot)",
    r"foreign|foreigners?": "out-of-distribution, third-party",
    r"stand-ins?|stands? in (for|place)": "surrogate, approximation, replaces",
    r"nets?": "network",
    r"ties?|tied": "reconstruction penalty",
    r"contenders?|rivals?|contests?": "method, baseline, suite",
    r"(in|by|takes?)[ _]turns": "interleaved",
    r"in vain": "warm-up",
    r"dear": "expensive",
    r"by chance": "at random",
    r"anew": "again, from scratch",
    r"in one go": "batched, in one call",
    r"whole or not at all": "atomically",
    r"writers?": "main process",
    r"(takes?|taken|took)[ _]up|(goes|go|went) on": "resume, continue",
    r"plainly|plain way": "eager mode",
    r"remember(s|ed)?|forg(et|ets|ot|otten)": "cache, clear the cache; ignore, omit",
    r"lends?|owes?|affairs?|meets?": "what happens",
    r"told|tells?|says?|said": "report, name, give, specify",
    r"so many": "n, at most n",
    r"number by number": "element-wise",
    r"seal(s|ed)?": "checksum, manifest",
    r"fork(s|ed)?": "ablation",
    r"streams?": "seeded generator, isolated RNG",
    r"volumes?[ _](gradients?|errors?|terms?|keys?)": "log-determinant",
    r"teams?": "group",
    r"rooms?": "module",
    r"ways? back|pass back": "backward pass, inverse",
    r"left the finite": "diverged, non-finite value",
    r"by hand": "written here, eager",
    r"for ever": "permanently",
    r"wish(es)?": "config",
    r"recipes?": "run configuration",
    r"outcomes?": "result",
    r"races?|lanes?": "comparison, measurement",
    r"ledgers?": "tracker",
    r"events?(?![ _](shapes?|dims?))": "data point, example",
    r"codes": "latents",
    r"the nats": "negative log-likelihood (NLL) in nats",
    r"gradients? by": "gradient with respect to",
    r"who(so)?ever|ere|of before there was": "a plain clause",
    r"\w*(colour|behaviour|neighbour|favour)\w*|centre[sd]?|gre(y|ys|yscale)|judgement": "American spelling",
    r"\w*(al|im|or|tim|ant|ret|gan|nim|xim|dom)is(es?|ed|ing|ations?|er|ers)": "-ize, American spelling",
}
#: Fixed elsewhere, each with its reason; taken out of a text before words are looked for.
FIXED = (
    r"fork_rng|is_current_stream_capturing",  # names of torch
    r"^stream$",  # an argument of requests
    r"\bGreys\b|normflows\.nets|image-net\.org",  # names of matplotlib, of normflows, of a site
    r"\beq-[\w-]+|(?<![a-z])initialised?(?![a-z])",  # labels of equations; names in the public contract
    r"--seal\b|\"wish\"",  # in the commands of old records; in the format of a plan
    r"\bGREY\b|PICTURE_CELLS",  # notebooks import them
    r"\"contenders\"|forks?-[*{A-Z]|volume_errors|(\"|``)dequantise\1",  # names in stored records
    r"\"bench events\"|^\"fork\"$|^Event$",  # keys of random draws; a class of torch
    r"Prior work in eighteen pictures",  # the chapter's title
    # words in the outputs and figures that notebooks have stored
    r"The gradient by (s\b|N\b|\{name\})|without a tie|The codes, c =|NICE, told to add",
    r"exact inverse, tie kept|exact, no tie",
)
#: Allowed in identifiers: the state dicts of couplings hold the name.
NAMES = (r"nets?",)
EDGE = r"(?<![^\W_]){}(?![^\W_])"
IN_TEXT = re.compile("|".join(EDGE.format(f"(?:{words})") for words in WORDS), re.IGNORECASE)
IN_NAMES = re.compile("|".join(EDGE.format(f"(?:{words})") for words in WORDS if words not in NAMES), re.IGNORECASE)
TEXT = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def hits(source: str) -> Iterator[tuple[int, str, str]]:
    """Line, word, and what to write instead, for each word of the table in the source of a module."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in {tokenize.NAME, *TEXT}:
            continue
        text = re.sub("|".join(FIXED), lambda fixed: re.sub(r"[^\n]", "·", fixed[0]), token.string)
        if token.type == tokenize.NAME:
            text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
        text = re.sub(r"\n +", "\n", text)
        pattern = IN_NAMES if token.type == tokenize.NAME else IN_TEXT
        for hit in pattern.finditer(text.replace("\n", " ")):
            new = next(new for old, new in WORDS.items() if re.fullmatch(old, hit[0], re.IGNORECASE))
            yield token.start[0] + text[: hit.start()].count("\n"), hit[0], new


def modules() -> list[Path]:
    return [path for place in PACKAGES for path in (ROOT / place).rglob("*.py")]


def test_the_packages_speak_the_fields_language() -> None:
    assert len(modules()) > 100
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{line}: {word!r}; write {new}"
        for path in modules()
        for line, word, new in hits(path.read_text("utf-8"))
    ]
    assert not found, "\n".join(["words that the field does not use:", *found])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def read_picture(): pass", [(1, "picture")]),
        ("class RivalTable: pass", [(1, "Rival")]),
        ("x = 1  # the way back", [(1, "way back")]),
        ('"""First.\n\nA stand-in for the\nexact one."""', [(3, "stand-in")]),
        ('"""It goes\n    on."""', [(1, "goes on")]),
        ('raise ValueError(f"expected events, got {x}")', [(1, "events")]),
        ("shape = event_shape  # the event shape", []),
        ("self.net = layers  # the net", [(1, "net")]),
        ("import magnets, codecs, stream_of", [(1, "stream")]),
        ("colours = normalise(neighbours)", [(1, "colours"), (1, "normalise"), (1, "neighbours")]),
        ("raise_, promise, exercises, revised, precision = noise, advised, likewise, 1, 2", []),
    ],
)
def test_the_check_finds_words_and_parts_of_names(source: str, expected: list[tuple[int, str]]) -> None:
    assert [(line, word) for line, word, _ in hits(source)] == expected
