"""The rows of ``make matrix``: each a way in which another machine may differ from this one, and the tests it concerns.

A row says which Python and versions it takes, where the checkout lies, what stands in the environment variables, and by
a Python expression, evaluated where its tests will run, that the difference is really there: a row whose difference
cannot be made here is reported as "not here", and never as passed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

#: What a row runs: arguments of pytest. The mutants are in none of them: they test the tests, not the machine.
SELECTIONS: dict[str, tuple[str, ...]] = {
    # What reads and writes files, starts programs, asks git and builds the book; the chapter that reads most records.
    "files": (
        "tests/book/test_book.py", "tests/experiments/test_cli.py::test_list_names_models_and_data",
        "tests/experiments/test_cli.py::test_train_writes_record_picture_and_checkpoint",
        "tests/project/test_platforms.py", "tests/project/test_readme.py", "tests/experiments/test_results.py",
        "tests/experiments/test_record.py", "tests/experiments/test_archive.py", "tests/book/test_status.py",
        "book/the-results.ipynb",
    ),
    # Every layer against autograd, whole flows, a short chapter that trains.
    "numbers": (
        "tests/theory/test_layers.py", "tests/theory/test_layer_refusals.py",
        "tests/theory/test_surrogate_gradients.py", "tests/theory/test_flow.py", "book/your-own-data.ipynb",
    ),
    # What other versions of Python, torch or matplotlib may change, beside the above.
    "versions": (
        "tests/theory/test_layers.py", "tests/theory/test_layer_refusals.py",
        "tests/theory/test_surrogate_gradients.py", "tests/theory/test_training_graph.py",
        "tests/training/test_step.py", "tests/training/test_distributed.py",
        "tests/chapters/test_prior_layers.py", "tests/chapters/test_integer_flow.py", "tests/chapters/test_slider.py",
        "tests/chapters/test_plane.py", "tests/experiments/test_record.py", "tests/experiments/test_archive.py",
        "tests/project/test_wheel.py", "book/your-own-data.ipynb",
    ),
    "chapters": ("book", "tests/project/test_wheel.py"),
    "pages": (
        "tests/pages/test_page.py", "tests/pages/test_offline.py", "tests/pages/test_pdf.py",
        "tests/book/test_one_page.py", "tests/book/test_book.py",
    ),
}  # fmt: skip

#: What Colab has, by its own list of August 2026.
COLAB = {
    "torch": "2.11.0", "numpy": "2.1.3", "scipy": "1.16.3", "scikit-learn": "1.6.1", "matplotlib": "3.10.0",
    "ipython": "7.34.0", "ipykernel": "6.17.1", "ipywidgets": "7.7.1",
}  # fmt: skip


@dataclass(frozen=True)
class MatrixRow:
    """One line of the matrix.

    Attributes:
        what: the difference, in words.
        runs: a key of ``SELECTIONS``, or the script that is the row.
        holds: a Python expression that is true where the difference is there.
        python: the command of another Python, or its version; unset, the one that runs the matrix.
        versions: of the libraries: "pinned", "floors", "newest" or "colab".
        place: what kind of checkout: "clone", "zip", "crlf", "odd", "read-only".
        variables: of the environment. One that begins with LC_ may name a locale to be made: ``de_DE/UTF-8``.
        other_user: run as a user without rights, whose environment is empty.
        without: programs that are not on the PATH.
    """

    what: str
    runs: str
    holds: str = "True"
    python: str = ""
    versions: str = "pinned"
    place: str = "clone"
    variables: Mapping[str, str] = field(default_factory=dict)
    other_user: bool = False
    without: tuple[str, ...] = ()


NO_UTF8 = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ENCODING = "__import__('codecs').lookup(__import__('locale').getencoding()).name"
MINOR = "__import__('sys').version_info[:2] == (3, {})"
CAPABILITY = "__import__('torch').backends.cpu.get_cpu_capability() == '{}'"
THREADS = "__import__('torch').get_num_threads() == {}"
INSTALLED = "__import__('importlib.metadata').metadata.version('{}').split('+')[0] {} '{}'"

ROWS: dict[str, MatrixRow] = {
    # ---- Python, and the versions of the libraries -------------------------------------------------------------------
    "debian": MatrixRow("Debian's own Python, set up by `make`", "files", MINOR.format(11), python="/usr/bin/python3"),
    "python3.11": MatrixRow("Python 3.11, set up by `make`", "versions", MINOR.format(11), python="3.11"),
    "python3.12": MatrixRow("Python 3.12, set up by `make`", "versions", MINOR.format(12), python="3.12"),
    "python3.13": MatrixRow("Python 3.13, set up by `make`", "versions", MINOR.format(13), python="3.13"),
    "floors": MatrixRow(
        "the lowest versions that pyproject.toml allows", "versions", INSTALLED.format("torch", "<", "2.7"),
        python="3.11", versions="floors",
    ),
    "newest": MatrixRow("the newest versions, without constraints.txt", "versions", python="3.13", versions="newest"),
    "colab": MatrixRow(
        "Colab's versions, a chapter at a time in an empty folder", "chapters",
        INSTALLED.format("ipython", "==", COLAB["ipython"]), python="3.13", versions="colab",
    ),
    # ---- arithmetic --------------------------------------------------------------------------------------------------
    "one-thread": MatrixRow("one thread", "numbers", THREADS.format(1), variables={"OMP_NUM_THREADS": "1"}),
    "two-threads": MatrixRow(
        "two threads", "numbers", THREADS.format(2), variables={"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    ),
    "avx2": MatrixRow(
        "no instructions beyond AVX2", "numbers", CAPABILITY.format("AVX2"),
        variables={"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    ),
    "lowest": MatrixRow(
        "the lowest instructions of an x86 processor", "numbers", CAPABILITY.format("DEFAULT"),
        variables={"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    ),
    "arithmetics": MatrixRow("the chapters under other arithmetics", "book/_tools/arithmetics.py"),
    # ---- language ----------------------------------------------------------------------------------------------------
    "locale-c": MatrixRow(
        "locale C, no UTF-8 mode", "files", f"{ENCODING} == 'ascii'", variables={"LC_ALL": "C", **NO_UTF8}
    ),
    "cp1252": MatrixRow(
        "encoding cp1252, as on Windows", "files", f"{ENCODING} == 'cp1252'",
        variables={"LC_ALL": "en_US/CP1252", **NO_UTF8},
    ),
    "turkish": MatrixRow(
        "Turkish, whose i has a capital of its own", "files",
        "__import__('locale').setlocale(__import__('locale').LC_ALL, '').startswith('tr_TR')",
        variables={"LC_ALL": "tr_TR/UTF-8"},
    ),
    # ---- the checkout, and who runs it -------------------------------------------------------------------------------
    "odd-path": MatrixRow(
        "blanks, umlauts, a quote in the path", "files", '"\'" in __import__("os").getcwd()', place="odd"
    ),
    "zip": MatrixRow("an unpacked archive, no git", "files", "not __import__('os').path.exists('.git')", place="zip"),
    "crlf": MatrixRow(
        "a checkout by git with autocrlf", "files",
        "'true' in __import__('subprocess').getoutput('git config core.autocrlf')", place="crlf",
    ),
    "read-only": MatrixRow(
        "a checkout of somebody else's, not to be written to", "files", "not __import__('os').access('.', 2)",
        place="read-only", other_user=True,
    ),
    "nobody": MatrixRow(
        "not root, no HOME, no variables", "files",
        "__import__('os').geteuid() and 'HOME' not in __import__('os').environ", other_user=True,
    ),
    "no-browser": MatrixRow(
        "no browser", "pages", "__import__('chromium').installed() is None",
        without=("chromium", "chrome", "firefox", "msedge"),
    ),
    "fonts": MatrixRow("the pages with other sets of fonts", "tests/pages/font_sets.py"),
}  # fmt: skip
