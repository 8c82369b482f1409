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

#: Folders and files that are checked, below the repository's root.
CLEAN = (
    "snf_lite/analysis",
    "snf_lite/data",
    "snf_lite/runtime/devices.py",
    "snf_lite/runtime/rng.py",
    "book/snf_book",
)
#: Not yet: they belong to another change.
LATER = ("book/snf_book/prior_work/record.py", "book/snf_book/prior_work/training.py")

#: Word (a regular expression, any case, whole words) -> what to write instead.
WORDS = {
    r"pictures?": "image (data), figure (plot)",
    r"foreign|foreigners?": "out-of-distribution, third-party",
    r"stand[- ]ins?|stands? in (for|place)": "surrogate, approximation, replaces",
    r"nets?": "network",
    r"ties?|tied": "reconstruction penalty",
    r"contenders?|rivals?|contests?": "method, baseline, suite",
    r"(in|by|takes?|take_) ?turns": "interleaved",
    r"in vain": "warm-up",
    r"dear": "expensive",
    r"by chance": "at random",
    r"anew": "again, from scratch",
    r"in one go": "batched, in one call",
    r"whole or not at all": "atomically",
    r"writers?": "main process",
    r"(takes?|taken|took) up|go(es)? on|went on": "resume, continue",
    r"plainly|plain way": "eager mode",
    r"remember(s|ed)?|forg(et|ets|ot|otten)": "cache, clear the cache; ignore, omit",
    r"lends?|owes?|affairs?|meets?": "what happens",
    r"told|tells?|says?|said": "report, name, give, specify",
    r"so many": "n, at most n",
    r"number by number": "element-wise",
    r"seal(s|ed)?": "checksum, manifest",
    r"fork(s|ed)?": "ablation",
    r"streams?": "seeded generator, isolated RNG",
    r"volumes?": "log-determinant",
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
    r"codes?": "latent",
    r"the nats": "negative log-likelihood (NLL) in nats",
    r"gradients? by": "gradient with respect to",
    r"whoever|whosoever|ere|of before there was": "a plain clause",
    r"(colour|behaviour|neighbour|favour)\w*|centres?|greys?|pictur\w+|judgement": "American spelling",
    r"(normalis|initialis|optimis|factoris|dequantis|equalis|summaris|generalis|organis|minimis|maximis)\w*": "-iz-",
}
#: Fixed by others, or another meaning than the one that is replaced: taken out before anything is looked for.
FIXED = "|".join(
    (
        r"fork_rng|FloatingPointError",
    )
)
WORD = re.compile("|".join(f"(?:(?<![^\\W_])(?:{word})(?![^\\W_]))" for word in WORDS), re.IGNORECASE)
TEXT = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def found_in(source: str) -> Iterator[tuple[int, str, str]]:
    """Line, word, and what to write instead."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", token.string)
        elif token.type in TEXT:
            text = token.string
        else:
            continue
        text = re.sub(FIXED, lambda fixed: "\n" * fixed[0].count("\n"), text)
        for hit in WORD.finditer(text):
            instead = next(new for old, new in WORDS.items() if re.fullmatch(old, hit[0], re.IGNORECASE))
            yield token.start[0] + text[: hit.start()].count("\n"), hit[0], instead
