"""Near misses: names in the environment and options that are nearly those of settings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

from wsaas.settings.table import SETTINGS

_NAMES = frozenset(setting.name for setting in SETTINGS)
_KNOWN = _NAMES | {f"{setting.name}_FILE" for setting in SETTINGS if setting.in_file}
_OPTIONS = frozenset(setting.option for setting in SETTINGS if not setting.secret)
#: The similarity from which on a name counts as a misspelled setting: with one letter too many it is about 0.95.
_ALIKE = 0.85
#: The same for an option, which is surely meant to be one of ours, and for a setting that has to be there.
_SURELY_ALIKE = 0.7


def _nearest(name: str, known: Collection[str], alike: float) -> str:
    """:returns: the setting or option that a name is probably meant to be; empty if it is none"""
    plain = name.removeprefix("WSAAS_").removeprefix("wsaas-")
    if plain in known:
        return plain
    without_file = plain.removesuffix("_FILE")
    if without_file in known and without_file in _NAMES:
        return without_file
    # Only those with the same two first letters: PIP_CERT is not meant to be API_CERT.
    like_it = sorted(each for each in known if each[:2] == plain[:2])
    return next(iter(get_close_matches(plain, like_it, 1, alike)), "")


def _is_not(name: str, meant: str) -> str:
    return f"{name} is not a setting. Did you mean {meant}?"


def misnamed(given: Iterable[str]) -> list[str]:
    """Find misspelled settings in the environment.

    An unknown option is an error, but an environment also contains variables of other programs. A setting that protects
    the gateway must not be missing because of a typo.

    :param given: the names of the given settings, and of everything else in the environment
    :returns: a warning for each name that is probably meant to be a setting that is not given
    """
    names = frozenset(given)
    found = [(name, _nearest(name.upper(), _KNOWN, _ALIKE)) for name in sorted(names - _KNOWN)]
    return [f"{_is_not(name, meant)} It has no effect" for name, meant in found if meant and meant not in names]


def missing(required: str, given: Mapping[str, str]) -> str:
    """:returns: that a required setting is not set, and what in the environment may be meant to be it

    :param given: the given settings, and everything else in the environment
    """
    for name in sorted(given):
        if name not in _KNOWN and given[name].strip() and _nearest(name.upper(), [required], _SURELY_ALIKE):
            return f"{required} is not set; {_is_not(name, required)}"
    return f"{required} is not set"


def unknown_option(option: str, of_twistd: Collection[str] = ()) -> str:
    """:returns: what is said of an option that does not exist

    :param option: without dashes in front
    :param of_twistd: the options of twistd itself
    """
    setting = option.upper().replace("-", "_")
    if setting in _KNOWN:
        return f"--{option} is not an option: {setting} is set in the environment only"
    if option in of_twistd:
        return f"--{option} is an option of twistd: it stands before wsaas"
    meant = _nearest(option.lower().replace("_", "-"), _OPTIONS, _SURELY_ALIKE)
    hint = f" Did you mean --{meant}?" if meant else " See --help"
    return f"--{option} is not an option.{hint}"
