"""Running an entry point: flags in, exit code out.

Exit codes: 0 done; 2 a mistake that the user can mend, told in one line on stderr;
130 interrupted; 143 ended by SIGTERM.
"""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from mocanet_jax.runtime.errors import Stopped, UserError
from mocanet_jax.train.config import files as config_files
from mocanet_jax.train.config import meanings as fields

CONFIG = "--config="


def run(main: Callable[[], None]) -> None:
    """Parses flags, then calls `main`; positional arguments are refused."""
    logging.set_verbosity(logging.FATAL)  # Orbax logs, with tracebacks, what it also raises
    app.run(lambda _: _guarded(main), flags_parser=_parse)


def config_value(flag: flags.FlagHolder | flags.Flag) -> ConfigDict:
    """The config of a config-file flag. Raises UserError where there is none to be had."""
    if flag.value is None:
        raise UserError("no config given; pass one, for example --config=configs/copy.py")
    try:
        flag.value.to_dict()  # a file that failed to load complains only when it is used
    except Exception as error:
        raise UserError(f"--{flag.name}: {_one_line(error)}") from error
    return flag.value


def config_of(arguments: list[str]) -> ConfigDict:
    """The config that mocanet_jax.main makes of these flags. Raises UserError where none."""
    values, argv = flags.FlagValues(), ["main", *resolved(arguments)]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    try:
        values(argv)
    except Exception as error:  # a config file is the user's code and may raise anything
        raise UserError(_one_line(error)) from error
    return config_value(values["config"])


def _parse(argv: list[str]) -> list[str]:
    if {"--help", "-help", "-h", "-?"} & set(argv):
        print(sys.modules["__main__"].__doc__)
        print(flags.FLAGS.main_module_help())
        if "config" in flags.FLAGS:
            print("\n".join(fields.reference()))
        sys.exit(0)
    try:
        argv = resolved(argv)
        rest = flags.FLAGS(argv)
    except UserError as error:
        _fail(str(error))
    except flags.UnrecognizedFlagError as error:
        _fail(_unknown_flag(error, argv))
    except Exception as error:  # a config file is the user's code and may raise anything
        _fail(_unknown_field(argv) or _one_line(error))
    if rest[1:]:
        _fail(f"unexpected argument {rest[1]!r}; flags are written --name=value")
    return rest


def resolved(argv: list[str]) -> list[str]:
    """Flags in which --config names a file that is there. Raises UserError where none is."""
    return [
        f"{CONFIG}{config_files.path_of(argument.removeprefix(CONFIG))}"
        if argument.startswith(CONFIG) and argument != CONFIG
        else argument
        for argument in argv
    ]


def _unknown_flag(error, argv):
    """For a field that is given without its section: which one was meant."""
    name = error.flagname
    known = [field.name for field in fields.documented().values()]
    meant = fields.meant(name, known)
    value = next(
        (a.partition("=")[2] for a in argv if a.lstrip("-").startswith(f"{name}=")), ""
    )
    if meant is None or "config" not in flags.FLAGS:
        return " ".join(str(error).split())
    return f"unknown flag --{name}; did you mean --config.{meant}={value}?"


def _unknown_field(argv):
    """A line for the first --config.NAME that the config does not have; None for none."""
    named = [argument for argument in argv if argument.startswith(CONFIG)]
    if not named:
        return None
    try:
        config = config_files.load(named[-1].removeprefix(CONFIG))
    except UserError as error:
        return str(error)
    known = dict(fields.flat(config))
    for argument in argv:
        name = argument.partition("=")[0].removeprefix("--config.")
        if argument.startswith("--config.") and name not in known:
            meant = fields.meant(name, known)
            hint = f"; did you mean --config.{meant}?" if meant else ""
            return f"unknown config field {name}{hint}"
    return None


def _guarded(main):
    try:
        main()
    except UserError as error:
        _fail(str(error))
    except OSError as error:  # the disk is full, or a file has gone
        _fail(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))
    except Stopped as stop:
        leave(str(stop), 128 + stop.received)
    except KeyboardInterrupt:
        leave("interrupted; the same command goes on from the last checkpoint", 130)


def leave(line: str, code: int) -> NoReturn:
    """Ends the process with a line on stderr and an exit code."""
    print(line, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # XLA's threads may still be computing, and crash if Python is taken down around them.
    os._exit(code)


def _one_line(error: Exception) -> str:
    """The message of an error; of a message that quotes a traceback, its last line."""
    text = str(error).replace("\\n", "\n").replace("\\'", "'").strip()
    if isinstance(error, AttributeError | KeyError):
        text = "unknown config field " + text.strip("'\"").replace("'\nDid", ". Did")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    quoted = "Traceback" in text or "earlier failure" in text
    return lines[-1].removeprefix("ValueError: ") if quoted else " ".join(lines)


def _fail(line: str) -> None:
    print(f"error: {line}", file=sys.stderr)
    sys.exit(2)
