"""Configs of runs that were trained before some of today's fields were there."""

from collections.abc import Mapping

from mocanet_jax.train.config.defaults import FIELDS, LANGUAGE_FIELDS, TEXT_FIELDS


def completed(config: Mapping) -> dict:
    """A recorded config, in plain containers, with the fields that it lacks at their defaults:
    a field that is added does at its default what was done without it. Sections as a whole
    (model, train, …) are not added, nor what belongs to a task (data), which is checked where
    the task is made."""
    fields = dict(FIELDS)
    for extra, mark in ((TEXT_FIELDS, "quality"), (LANGUAGE_FIELDS, "streams")):
        if mark in config or mark in config.get("eval", ()):
            fields = _merged(fields, extra)
    return {
        name: _completed(value, fields[name]) if isinstance(fields.get(name), dict) else value
        for name, value in config.items()
    }


def _completed(section, fields):
    if not isinstance(section, Mapping):
        return section
    whole = dict(section)
    for name, field in fields.items():
        if isinstance(field, dict):
            whole[name] = _completed(section.get(name, {}), field)
        else:
            whole.setdefault(name, field[0])
    return whole


def _merged(fields, extra):
    both = dict(fields)
    for name, field in extra.items():
        known = isinstance(field, dict) and name in fields
        both[name] = _merged(fields[name], field) if known else field
    return both
