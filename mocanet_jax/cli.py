"""Running an entry point: flags in, exit code out.

Exit codes: 0 done; 2 an error that the user can correct, reported in one line on stderr;
130 interrupted; 143 ended by SIGTERM.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from mocanet_jax.runtime import background, streams
from mocanet_jax.runtime.errors import Stopped, UserError, one_line, summary
from mocanet_jax.runtime.imports import search_also
from mocanet_jax.train.checkpoints import shipped
from mocanet_jax.train.config import files as config_files
from mocanet_jax.train.config import meanings as fields

PLAIN_PICTURES = {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
"""Else a backend that is not there, or LaTeX that a matplotlibrc wants, ends a command when it
draws, after it trained."""

flags.disclaim_key_flags()  # --config is of the module that calls define_config
HELP = {"--help", "-help", "-h", "-?", "--helpshort", "--helpfull"}


def run(main: Callable[[], None], outlives_reader: bool = True) -> None:
    """Parses flags, then calls `main`; positional arguments are refused. --help prints the
    docstring of `main`'s module.

    outlives_reader: whether `main` goes on when nobody reads its output any more.
    """
    streams.open_missing()
    if outlives_reader:
        streams.keep_writing()
    _plain_pictures()
    logging.set_verbosity(logging.FATAL)  # Orbax logs, with tracebacks, what it also raises
    with contextlib.suppress(FileNotFoundError):  # the current folder was deleted
        search_also([Path.cwd()])  # for a task or head of one's own
    document = main.__globals__["__doc__"]
    try:
        app.run(lambda _: _guarded(main), flags_parser=partial(_parse, document=document))
    except KeyboardInterrupt:  # while flags are parsed
        leave("interrupted", 130)


def _plain_pictures():
    """Matplotlib reads a matplotlibrc in the current folder first, whatever MATPLOTLIBRC says,
    and ends the process if it cannot be decoded."""
    os.environ |= PLAIN_PICTURES
    if os.path.lexists("matplotlibrc"):
        with contextlib.chdir(Path(os.__file__).parent):
            import matplotlib  # noqa: F401


def define_config(meaning: str, values: flags.FlagValues = flags.FLAGS) -> flags.FlagHolder:
    """The flag --config. Files of --flagfile are read here, where they may name the config;
    one that cannot be read ends the process."""
    try:
        return config_flags.DEFINE_config_file("config", None, meaning, flag_values=values)
    except (flags.Error, OSError, ValueError) as error:
        streams.open_missing()
        _fail(_of_flags(error))


def config_value(flag: flags.FlagHolder | flags.Flag) -> ConfigDict:
    """The config of a config-file flag. Raises UserError where there is none."""
    if flag.value is None:
        raise UserError("no config given; pass one, for example --config=configs/copy.py")
    return flag.value


def config_of(arguments: list[str]) -> ConfigDict:
    """The config that mocanet_jax.main makes of these flags. Raises UserError where none."""
    values, argv = flags.FlagValues(), ["main", *arguments]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    values["config"].parser = _ConfigParser(argv)
    return config_value(_parsed(values, argv)["config"])


def overridden(config: ConfigDict) -> tuple[ConfigDict, dict]:
    """The config of a run with the fields that --config.NAME=VALUE sets, and these by their
    dotted names: for a command without --config. Raises UserError for one that it does not
    have or that refuses the value."""
    values, argv = flags.FlagValues(), ["main", *_overrides(sys.argv)]
    _check_names(config, argv)
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
    except flags.Error as error:
        raise UserError(summary(error)) from error
    flag = _parsed(values, argv)["config"]
    return flag.value, config_flags.get_override_values(flag)


def _parsed(values, argv):
    try:
        values(argv)
    except UserError:
        raise
    except Exception as error:  # of absl and ml_collections
        raise UserError(summary(error)) from error
    return values


class _ConfigParser(flags.ArgumentParser):
    """Makes a config of its name and checks that fields which flags set are there."""

    def __init__(self, argv):
        self._argv = argv

    def parse(self, name):
        config = config_files.load(name)
        _check_names(config, self._argv)
        return config


def _check_names(config, argv):
    known = dict(fields.flat(config))
    sections = {".".join(name.split(".")[:n]) for name in known for n in range(1, 9)}
    for argument in _overrides(argv):
        name, _, value = argument.partition(".")[2].partition("=")
        name = name.partition("[")[0]
        if name not in sections:
            meant = fields.meant(name, known)
            hint = f"; did you mean --config.{meant}={value}?" if meant else ""
            raise UserError(f"unknown config field {name}{hint}")


def _overrides(argv):
    """Flags that set a field of the config; of a switch also the form --noconfig.NAME."""
    return [a for a in argv if a.lstrip("-").removeprefix("no").startswith("config.")]


def _parse(argv: list[str], document: str) -> list[str]:
    if HELP & set(argv):
        _help(document)
        sys.exit(0)
    values = flags.FLAGS
    if "config" in values:
        values["config"].parser = _ConfigParser(argv)
        if not any(a.lstrip("-").partition("=")[0] == "config" for a in argv):
            fields_set = _overrides(argv)  # for `overridden`
            argv = [a for a in argv if a not in fields_set]
    try:
        rest = values(argv)
    except UserError as error:
        _fail(str(error))
    except flags.UnrecognizedFlagError as error:
        _fail(_unknown_flag(error, argv))
    except Exception as error:  # of absl and ml_collections
        _fail(_of_flags(error))
    if rest[1:]:
        _fail(f"unexpected argument {rest[1]!r}; flags are written --name=value")
    return rest


def _help(document):
    streams.keep_writing()
    columns = max(40, shutil.get_terminal_size().columns)
    os.environ["COLUMNS"] = str(columns)  # absl raises ValueError for a width below its indent
    reference = fields.reference() if "config" in flags.FLAGS else ()
    show("\n".join([document, flags.FLAGS.main_module_help(), *reference]))


def _of_flags(error):
    """What absl says of a file of flags does not name it, or is two sentences."""
    cause = error.__context__
    if isinstance(error, flags.CantOpenFlagFileError) and isinstance(cause, OSError):
        return f"--flagfile={cause.filename}: {cause.strerror}"
    if isinstance(error, UnicodeDecodeError):
        return f"--flagfile: not UTF-8: {error.reason} at byte {error.start}"
    return summary(error)


def _unknown_flag(error, argv):
    """For a field that is given without its section: which one was meant."""
    name = error.flagname
    known = [field.name for field in fields.documented().values()]
    meant = fields.meant(name, known) if "config" in flags.FLAGS else None
    if meant is None:
        return " ".join(str(error).split())
    value = next((a for a in argv if a.lstrip("-").startswith(f"{name}=")), "")
    return f"unknown flag --{name}; did you mean --config.{meant}={value.partition('=')[2]}?"


def show(text: str) -> None:
    """Prints what may be longer than its reader, as `head`, reads."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        discard_output()


def discard_output() -> None:
    """So that nothing fails again when Python flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _guarded(main):
    try:
        main()
    except UserError as error:
        _fail(str(error))
    except OSError as error:  # the disk is full, or a file has gone
        _fail(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))
    except MemoryError:
        _fail("out of memory; smaller sizes need less")
    except RuntimeError as error:  # of JAX, which a command need not have imported
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        _fail(f"out of memory ({summary(error)}); a smaller batch or model needs less")
    except Stopped as stop:
        leave(str(stop), 128 + stop.received)
    except KeyboardInterrupt:
        leave("interrupted; the same command goes on from the last checkpoint", 130)


def run_or_shipped(workdir: Path) -> Path:
    """A run; where it is not there, the model of its name that comes with the package, with a
    line that says so on stderr."""
    place = shipped.place(workdir)
    if place != workdir:
        print(
            f"{one_line(str(workdir))} is not there: answers are those of the model "
            f"{place.name} that comes with mocanet_jax",
            file=sys.stderr,
        )
    return place


def leave(line: str, code: int) -> NoReturn:
    """Ends the process with a line on stderr and an exit code."""
    print(one_line(line), file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # XLA's threads may still be computing, and crash if Python is taken down around them.
    os._exit(code)


def _fail(line: str) -> NoReturn:
    if background.running():  # a program that is still compiled is not waited for
        leave(f"error: {line}", 2)
    print(f"error: {one_line(line)}", file=sys.stderr)
    sys.exit(2)
