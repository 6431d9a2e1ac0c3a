"""Running an entry point: flags in, exit code out.

Exit codes: 0 done; 2 a mistake that the user can mend, told in one line on stderr;
130 interrupted.
"""

import sys
from collections.abc import Callable

from absl import app, flags, logging

from mocanet_jax.errors import UserError


def run(main: Callable[[], None]) -> None:
    """Parses flags, then calls `main`; positional arguments are refused."""
    logging.set_verbosity(logging.ERROR)
    app.run(lambda _: _guarded(main), flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
    if {"--help", "-help", "-h", "-?"} & set(argv):
        print(sys.modules["__main__"].__doc__)
        print(flags.FLAGS.main_module_help())
        sys.exit(0)
    try:
        rest = flags.FLAGS(argv)
    except Exception as error:  # a config file is the user's code and may raise anything
        _fail(_first_line(error))
    if rest[1:]:
        _fail(f"unexpected argument {rest[1]!r}; flags are written --name=value")
    return rest


def _guarded(main):
    try:
        main()
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)


def _first_line(error: Exception) -> str:
    text = str(error.args[0] if isinstance(error, KeyError) else error).strip()
    return " ".join(text.split()) or type(error).__name__


def _fail(line: str) -> None:
    print(f"error: {line}", file=sys.stderr)
    sys.exit(2)
